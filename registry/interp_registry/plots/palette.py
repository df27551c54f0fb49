"""The colours of every drawing: one light and one dark theme, chosen so that the same roles read well on both."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "THEMES", "Theme", "colour_at", "ink_on", "mix"]


@dataclass(frozen=True)
class Theme:
    """Colours by role, as ``#rrggbb``.

    Attributes:
        paper: Background of a drawing.
        ink: Text and axes.
        muted: Secondary text.
        grid: Grid lines.
        mark: The best cell, an observed value: what the eye should find first.
        empty: Cells without a value.
        series: Colours of groups and lines, told apart in all common kinds of colour blindness when used in order.
        sequential: Stops from the least to the greatest value; the least is close to the paper.
        diverging: Stops from below to above the centre.
    """

    paper: str
    ink: str
    muted: str
    grid: str
    mark: str
    empty: str
    series: tuple[str, ...]
    sequential: tuple[str, ...]
    diverging: tuple[str, ...]


LIGHT = Theme(
    paper="#ffffff",
    ink="#1b2430",
    muted="#5d6979",
    grid="#e6eaef",
    mark="#d4500f",
    empty="#eef0f3",
    series=("#2468b0", "#d4621f", "#1f8f6b", "#9a47a8", "#a67c00", "#c0395b", "#2c93ad", "#5b6673"),
    sequential=(
        "#f2f8f4",
        "#d3eddf",
        "#9edcc0",
        "#62c3b1",
        "#3fa6ab",
        "#3587a6",
        "#37689f",
        "#3f4a8a",
        "#3a3166",
        "#251b3d",
    ),
    diverging=("#1d4f91", "#4f83c1", "#a3c3e3", "#f3f2ef", "#f0bd9f", "#d5764c", "#9c3a1c"),
)

DARK = Theme(
    paper="#161b22",
    ink="#e4e9ef",
    muted="#97a3b3",
    grid="#2a323d",
    mark="#ffa45c",
    empty="#20262f",
    series=("#6fadf0", "#f29b63", "#58c9a0", "#cf8edb", "#dfb945", "#f07f9c", "#6accdf", "#a3afbd"),
    sequential=(
        "#1b1f2b",
        "#2b2748",
        "#3a3570",
        "#3c5293",
        "#37719f",
        "#388fa6",
        "#42aaab",
        "#66c6b0",
        "#a4dfc2",
        "#e6f7ec",
    ),
    diverging=("#8fbdf2", "#4d86cc", "#2a4a73", "#1d222b", "#6e3f2a", "#cf7b4d", "#ffc09c"),
)

THEMES = {"light": LIGHT, "dark": DARK}


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def mix(first: str, second: str, share: float) -> str:
    """The colour at ``share`` in [0, 1] of the way from ``first`` to ``second``."""
    pairs = zip(_rgb(first), _rgb(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def colour_at(stops: Sequence[str], share: float) -> str:
    """The colour at ``share`` (clipped to [0, 1]) of a scale given by equally spaced ``stops``."""
    position = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    index = min(int(position), len(stops) - 2)
    return mix(stops[index], stops[index + 1], position - index)


def ink_on(background: str) -> str:
    """Near-black or white, whichever contrasts more with ``background`` (WCAG relative luminance)."""

    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = map(linear, _rgb(background))
    return "#10151c" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.19 else "#ffffff"
