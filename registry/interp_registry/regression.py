"""The least-squares line through points, with Pearson's r and Spearman's rho, in plain Python."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Regression", "fit_line", "ranks"]


@dataclass(frozen=True)
class Regression:
    """A least-squares line and two correlations; NaN where fewer than two points or no spread leave them undefined.

    Attributes:
        slope: Change of y per unit of x.
        intercept: y at x = 0.
        pearson: Pearson's product-moment correlation r, in [-1, 1].
        spearman: Spearman's rank correlation rho (average ranks for ties), in [-1, 1].
        n: Number of finite points used.
    """

    slope: float
    intercept: float
    pearson: float
    spearman: float
    n: int

    @property
    def sentence(self) -> str:
        """The correlations as they stand beside a plot."""
        return f"Pearson r = {_signed(self.pearson)}, Spearman rho = {_signed(self.spearman)}, n = {self.n}"


def _signed(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:+.2f}"


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the average of their ranks."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    result = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for position in range(start, end + 1):
            result[order[position]] = (start + end) / 2 + 1
        start = end + 1
    return result


def _correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Pearson's r and the least-squares slope."""
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    var_x = math.fsum((a - mean_x) ** 2 for a in x)
    var_y = math.fsum((b - mean_y) ** 2 for b in y)
    covariance = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    slope = covariance / var_x if var_x > 0 else math.nan
    spread = math.sqrt(var_x) * math.sqrt(var_y)
    return (max(-1.0, min(1.0, covariance / spread)) if spread > 0 else math.nan), slope


def fit_line(x: Sequence[float], y: Sequence[float], x_log: bool = False, y_log: bool = False) -> Regression:
    """Fit ``y = slope * x + intercept`` by least squares to the finite points.

    Args:
        x: Horizontal values.
        y: Vertical values, as many.
        x_log: Fit in ``log10(x)``, leaving out values that are not positive.
        y_log: Fit ``log10(y)`` likewise.

    Returns:
        The line (in the transformed coordinates) and the correlations of the points used.
    """
    points = [
        (math.log10(a) if x_log else a, math.log10(b) if y_log else b)
        for a, b in zip(x, y, strict=True)
        if math.isfinite(a) and math.isfinite(b) and (a > 0 or not x_log) and (b > 0 or not y_log)
    ]
    if len(points) < 2:
        return Regression(math.nan, math.nan, math.nan, math.nan, len(points))
    u, v = zip(*points, strict=True)
    pearson, slope = _correlation(u, v)
    spearman, _ = _correlation(ranks(u), ranks(v))
    intercept = math.fsum(v) / len(v) - slope * math.fsum(u) / len(u)
    return Regression(slope, intercept, pearson, spearman, len(points))
