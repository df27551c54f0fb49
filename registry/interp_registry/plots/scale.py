"""From values to places on a colour scale, and from numbers to short text; the same in every drawing."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from interp_registry.figures import HeatMap, MarkedText
from interp_registry.plots.palette import Theme, colour_at

__all__ = ["ColourScale", "cell_texts", "number_text", "scale_of"]


@dataclass(frozen=True)
class ColourScale:
    """Maps values in [``low``, ``high``] to [0, 1]; ``diverging`` scales are symmetric about their centre."""

    low: float
    high: float
    diverging: bool = False

    def share(self, value: float) -> float:
        """Where ``value`` lies between the ends, clipped to [0, 1]; NaN stays NaN; a scale without width gives 0.5."""
        if math.isnan(value):
            return math.nan
        if self.high <= self.low:
            return 0.5
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def colour(self, value: float, theme: Theme) -> str:
        """The colour of ``value`` in ``theme``."""
        share = self.share(value)
        if math.isnan(share):
            return theme.empty
        return colour_at(theme.diverging if self.diverging else theme.sequential, share)


def _scale(
    values: Iterable[float], value_range: tuple[float | None, float | None], center: float | None
) -> ColourScale:
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low = min(finite) if value_range[0] is None else value_range[0]
    high = max(finite) if value_range[1] is None else value_range[1]
    if center is None:
        return ColourScale(low, high)
    reach = max(abs(low - center), abs(high - center)) or 1.0
    return ColourScale(center - reach, center + reach, diverging=True)


def scale_of(figure: HeatMap | MarkedText) -> ColourScale:
    """The colour scale of a figure: its stated range, else that of its finite values, symmetric about ``center``."""
    if isinstance(figure, HeatMap):
        return _scale((value for row in figure.values for value in row), figure.value_range, figure.center)
    return _scale(figure.values, figure.value_range, figure.center)


def number_text(value: float | bool | None, digits: int = 4) -> str:
    """A number in at most ``digits`` significant digits, integers in full; empty for ``None``."""
    if value is None:
        return ""
    if isinstance(value, (bool, int)):
        return str(value)
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.{digits}g}"


def cell_texts(figure: HeatMap) -> list[list[str]]:
    """What stands in each cell: its annotation, or its number with the figure's decimals; empty for NaN.

    Scores in (-1, 1) lose their leading zero (.086), as tables of the field print them.
    """
    if figure.annotations:
        return [list(row) for row in figure.annotations]
    finite = [abs(value) for row in figure.values for value in row if math.isfinite(value)]
    whole = all(value == int(value) for value in finite)
    bare = not whole and max(finite, default=1.0) < 1
    return [[_cell_text(value, 0 if whole else figure.digits, bare) for value in row] for row in figure.values]


def _cell_text(value: float, digits: int, bare: bool) -> str:
    if not math.isfinite(value):
        return "" if math.isnan(value) else number_text(value)
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if bare else text
