"""What an alignment returns."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from interp_registry.figures import HeatMap

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Alignments", "Best", "Calibration", "Interval"]


class Best(NamedTuple):
    """The best pair of layers.

    Attributes:
        score: Its score.
        layers: (row of x, row of y): positions in `.scores`, x first.
    """

    score: float
    layers: tuple[int, int]


@dataclass(frozen=True)
class Calibration:
    """A statistic set against its permutation null (Gröger, Wen, Brbić 2026).

    Attributes:
        observed: The statistic of the real pairing.
        null: The statistic of each permutation, ``[K]``.
        threshold: tau, the order statistic ceil((1 - alpha)(K + 1)) of observed and null together.
        p_value: (1 + #{null >= observed}) / (K + 1).
        calibrated: max(0, (observed - tau) / (greatest attainable score - tau)), in [0, 1]; where the range has no upper
            end, the excess max(0, observed - tau).
        alpha: The level.
    """

    observed: float
    null: Float64[np.ndarray, " K"] = field(repr=False)
    threshold: float
    p_value: float
    calibrated: float
    alpha: float


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a statistic.

    Attributes:
        low: Lower end.
        high: Upper end.
        level: Nominal coverage.
        method: How it was found.
        standard_error: Estimated standard error.
    """

    low: float
    high: float
    level: float
    method: str
    standard_error: float


@dataclass(frozen=True)
class Alignments:
    """Scores of all pairs of layers of two models.

    Attributes:
        scores: float64 ``[Lx, Ly]``; entry [i, j] compares layer i of x with layer j of y.
        best: Best score and its layers (i, j), x first; ties go to the first in row-major order.
        metric: Name of the metric.
        options: The metric's options.
        n: Number of samples.
        statistic: What is reported: "max", "mean" or the chosen pair.
        value: Its value.
        higher_is_better: False for distances.
        calibration: The statistic against its null, if one was asked for.
        null_scores: ``[K, Lx, Ly]`` when kept.
        interval: Confidence interval of the statistic, if one was asked for.
    """

    scores: Float64[np.ndarray, "Lx Ly"]
    best: Best
    metric: str
    options: dict[str, Any]
    n: int
    statistic: str = "max"
    value: float = float("nan")
    higher_is_better: bool = True
    calibration: Calibration | None = None
    null_scores: Float64[np.ndarray, "K Lx Ly"] | None = field(default=None, repr=False)
    interval: Interval | None = None

    @property
    def figure(self) -> HeatMap:
        """The scores as a heat map with the best pair marked; rows are layers of x."""
        null = f"; p = {self.p_value:.3g}, calibrated {self.calibrated:.3g}" if self.p_value is not None else ""
        return HeatMap(
            self.scores.tolist(), row_title="layer of x", column_title="layer of y", units=self.metric,
            marked=(self.best.layers,), title=f"{self.metric} of layers", caption=f"n = {self.n}; best {self.best.score:.3f}{null}",
        )  # fmt: skip

    def _repr_html_(self) -> str:
        from interp_registry.plots.notebook import figure_html

        return figure_html(self.figure)

    def plot(self) -> Any:
        """The heat map as an interactive ``plotly.graph_objects.Figure``."""
        return self.figure.plot()

    def to_pandas(self) -> "pd.DataFrame":
        """The scores as a data frame, layers of x by layers of y."""
        return self.figure.to_pandas()

    @property
    def sign(self) -> int:
        """1 where a higher score is more alike, -1 for distances."""
        return 1 if self.higher_is_better else -1

    @property
    def p_value(self) -> float | None:
        """Permutation p-value of the statistic; None without a null."""
        return self.calibration.p_value if self.calibration else None

    @property
    def calibrated(self) -> float | None:
        """Calibrated score; 0 unless the statistic exceeds the threshold. None without a null."""
        return self.calibration.calibrated if self.calibration else None

    @property
    def threshold(self) -> float | None:
        """What the statistic must exceed at level alpha; None without a null."""
        return self.calibration.threshold if self.calibration else None

    @property
    def null(self) -> Float64[np.ndarray, " K"] | None:
        """The statistic of each permutation; None without a null."""
        return self.calibration.null if self.calibration else None
