"""Confidence intervals of an alignment, and how it moves with the number of samples.

A bootstrap that draws with replacement puts copies of a sample among its own neighbours, so subsamples are drawn without
replacement; a delete-one jackknife is used where leaving a sample out is exact and cheap.

Axis letters: n samples, m samples of a subsample, Lx and Ly layers, B subsamples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from interp_plugins.methods.align.calibration import null_scores, permutations
from interp_plugins.methods.align.metric_choice import BoundMetric
from interp_plugins.methods.align.result import Interval
from interp_plugins.metrics.layer_bank import LayerBank
from interp_registry.contracts.metric import LeavesOneOut, State, Subsettable
from interp_registry.errors import DataError, UsageError

__all__ = [
    "GridPoint",
    "IntervalSettings",
    "can_jackknife",
    "grid",
    "interval",
    "jackknife",
    "parse_grid",
    "subsample",
    "subsampled_scores",
    "subsamples",
]

Summary = Callable[[np.ndarray], np.ndarray]
_SMALLEST_GRID = 64
_SMALLEST_SUBSAMPLE = 8
_SMALLEST_HALF = 3
_GRID_DRAWS = 10
_GRID_PERMUTATIONS = 20


@dataclass(frozen=True)
class IntervalSettings:
    """How to find an interval: ``subsample``, ``jackknife``, or ``auto`` (the jackknife where it is exact)."""

    method: str = "auto"
    level: float = 0.95
    draws: int = 100
    seed: int = 0


def subsampled_scores(
    metric: BoundMetric, x: LayerBank, y: LayerBank, rows: Sequence[Tensor], states: tuple[State, State] | None = None
) -> Float64[np.ndarray, "B Lx Ly"]:
    """Scores of all pairs of layers on each subsample.

    Args:
        metric: The metric.
        x: Layers of the first model.
        y: Layers of the second model.
        rows: Samples of each subsample, all different, the same for both models.
        states: States on all samples, for metrics that can restrict them; others are prepared on the subsample.

    Raises:
        DataError: A score is not a number.
    """
    subset = metric.metric.subset if states is not None and isinstance(metric.metric, Subsettable) else None
    found = []
    for chosen in rows:
        if subset is not None and states is not None:
            scores = metric.score_pairs(subset(states[0], chosen), subset(states[1], chosen))
        else:
            scores = metric.score_pairs(metric.prepare(x.rows(chosen)), metric.prepare(y.rows(chosen)))
        found.append(scores.cpu())
    drawn = torch.stack(found)
    if not drawn.isfinite().all():
        raise DataError(f"{metric.name} is not a number on parts of {len(rows[0])} samples")
    return drawn.numpy()


def subsamples(n: int, m: int, n_draws: int, seed: int) -> list[Int64[Tensor, " m"]]:
    """Uniform random subsets of m of n samples, in ascending order, from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(n, generator=generator)[:m].sort().values for _ in range(n_draws)]


def subsample(draws: Float64[np.ndarray, " B"], observed: float, n: int, m: int, level: float) -> Interval:
    """Interval from a statistic on subsamples of m of n samples, drawn without replacement (Politis and Romano 1994).

    Without replacement the variance of a mean of m samples is (1/m - 1/n) of that of one sample, and of the whole 1/n; so deviations
    are scaled by sqrt(m / (n - m)). They are taken from the mean of the subsamples, because k-NN scores on fewer samples are larger.
    """
    deviations = (draws - draws.mean()) * math.sqrt(m / (n - m))
    tail = (1 - level) / 2
    low, high = np.quantile(deviations, [tail, 1 - tail])
    name = f"{len(draws)} subsamples of {m} without replacement"
    return Interval(observed - float(high), observed - float(low), level, name, float(deviations.std(ddof=1)))


def jackknife(left_out: Float64[np.ndarray, " n"], observed: float, level: float) -> Interval:
    """Normal interval from the statistic with each sample left out in turn (Efron and Stein 1981).

    Variance (n-1)/n sum_i (s_i - mean)^2.
    """
    from scipy.stats import norm

    n = len(left_out)
    error = math.sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))
    reach = float(norm.ppf((1 + level) / 2)) * error
    return Interval(observed - reach, observed + reach, level, "jackknife", error)


def can_jackknife(metric: BoundMetric) -> bool:
    """Whether the metric's delete-one scores are exact and cheap."""
    return isinstance(metric.metric, LeavesOneOut) and getattr(metric.metric, "can_leave_one_out", True)


def interval(
    metric: BoundMetric, x: LayerBank, y: LayerBank, statistic: Summary, observed: float, settings: IntervalSettings
) -> Interval:
    """Confidence interval of a statistic of the layer matrix.

    Raises:
        UsageError: A jackknife was asked of a metric that has none.
        DataError: There are too few samples to leave some out.
    """
    n = x.n
    if settings.method == "jackknife" and not can_jackknife(metric):
        raise UsageError(f"metric {metric.name!r} has no exact jackknife", "use --ci subsample")
    try:
        return _estimated(metric, x, y, statistic, observed, settings)
    except DataError as err:  # on fewer samples than there are: its message alone would be a riddle
        raise DataError(
            f"{n} samples are too few for an interval of {metric.name}, which is scored on fewer of them: {err}",
            "leave --ci out, or use more samples",
        ) from err


def _estimated(
    metric: BoundMetric, x: LayerBank, y: LayerBank, statistic: Summary, observed: float, settings: IntervalSettings
) -> Interval:
    if settings.method != "subsample" and can_jackknife(metric) and isinstance(metric.metric, LeavesOneOut):
        return jackknife(statistic(metric.metric.leave_one_out(x, y).cpu().numpy()), observed, settings.level)
    n, m = x.n, x.n // 2
    if m < _SMALLEST_HALF:
        raise DataError(f"half of them are {m}, and at least {_SMALLEST_HALF} are needed")
    rows = subsamples(n, m, settings.draws, settings.seed)
    draws = statistic(subsampled_scores(metric, x, y, [chosen.to(x[0].device) for chosen in rows]))
    return subsample(draws, observed, n, m, settings.level)


@dataclass(frozen=True)
class GridPoint:
    """A statistic on subsamples of one size.

    Attributes:
        n: Samples per subsample.
        mean: Mean over subsamples.
        deviation: Standard deviation over subsamples; 0 for a single one.
        null: Mean of the statistic over permutations, on the first subsample.
    """

    n: int
    mean: float
    deviation: float
    null: float


def grid(
    metric: BoundMetric, x: LayerBank, y: LayerBank, sizes: Sequence[int], statistic: Summary, seed: int
) -> list[GridPoint]:
    """How a statistic moves with the number of samples: its mean over subsamples of each size, and its null."""
    points = []
    for m in sizes:
        rows = [r.to(x[0].device) for r in subsamples(x.n, m, 1 if m == x.n else _GRID_DRAWS, seed)]
        draws = statistic(subsampled_scores(metric, x, y, rows))
        part_x, part_y = x.rows(rows[0]), y.rows(rows[0])
        drawn = permutations(m, _GRID_PERMUTATIONS, seed).to(x[0].device)
        null = null_scores(metric, metric.prepare(part_x), metric.prepare(part_y), drawn, part_y)
        points.append(GridPoint(m, float(draws.mean()), float(draws.std()), float(statistic(null).mean())))
    return points


def parse_grid(text: str, n: int) -> list[int]:
    """Sizes from ``128,256,512``; ``auto``: halvings of n down to 64, in ascending order.

    Raises:
        UsageError: A size is no number, too small, or larger than n.
    """
    if text == "auto":
        sizes = [n >> shift for shift in range(n.bit_length()) if n >> shift >= _SMALLEST_GRID]
        return sorted(sizes) or [n]
    try:
        sizes = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise UsageError(f"--n-grid {text!r} is no list of numbers", "write sizes such as 128,256,512") from None
    if sizes[0] < _SMALLEST_SUBSAMPLE or sizes[-1] > n:
        raise UsageError(f"--n-grid {text!r} leaves [{_SMALLEST_SUBSAMPLE}, {n}]", f"there are {n} samples")
    return sizes
