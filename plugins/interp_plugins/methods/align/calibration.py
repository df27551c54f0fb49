"""Calibration of a score against the permutation null of the statistic that is reported.

Raw scores grow with the width of the layers and with the number of pairs that are searched. Both effects are in the null too,
when the same permutation is applied to all layers of a model and the same statistic (the maximum, usually) is taken.

Axis letters: n samples, Lx and Ly layers, K permutations, m hypotheses.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from interp_plugins.methods.align.metric_choice import BoundMetric
from interp_plugins.methods.align.result import Calibration
from interp_registry.contracts.metric import MetricInfo, Permutable, State
from interp_registry.errors import UsageError

__all__ = ["Statistic", "benjamini_hochberg", "calibrate", "null_scores", "parse_statistic", "permutations"]

Statistic = str | tuple[int, int]
_PERMUTATIONS_AT_ONCE = 40


def permutations(n: int, n_permutations: int, seed: int) -> Int64[Tensor, "K n"]:
    """Uniform random permutations of n samples from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(n, generator=generator) for _ in range(n_permutations)])


def null_scores(
    metric: BoundMetric,
    x: State,
    y: State,
    permuted: Int64[Tensor, "K n"],
    layers_y: Sequence[Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float64[np.ndarray, "K Lx Ly"]:
    """Scores of all pairs of layers under every permutation of the samples of y.

    A metric that can re-index its state does; any other is prepared again for every permutation, which needs ``layers_y``.

    Args:
        metric: The metric.
        x: State of the first model.
        y: State of the second model.
        permuted: Row i of x is compared with row ``permuted[k, i]`` of y.
        layers_y: The layers that y was prepared from.
        progress: Called with (done, total) permutations.

    Raises:
        UsageError: The metric cannot re-index its state and there are no layers.
    """
    fast = metric.metric if isinstance(metric.metric, Permutable) else None
    if fast is None and layers_y is None:
        raise UsageError(f"metric {metric.name!r} has no null_pairs and the layers are not here", "give layers_y")
    chunks = []
    for start in range(0, len(permuted), _PERMUTATIONS_AT_ONCE):
        some = permuted[start : start + _PERMUTATIONS_AT_ONCE]
        if fast is not None:
            chunks.append(fast.null_pairs(x, y, some).cpu())
        else:
            shuffled = [metric.prepare([layer[p] for layer in layers_y or ()]) for p in some]
            chunks.append(torch.stack([metric.score_pairs(x, state) for state in shuffled]).cpu())
        if progress is not None:
            progress(min(start + len(some), len(permuted)), len(permuted))
    return torch.cat(chunks).numpy()


def parse_statistic(text: Statistic, n_x: int, n_y: int) -> tuple[str, Callable[[np.ndarray, bool], np.ndarray]]:
    """The statistic that is reported: ``max`` over pairs, their ``mean``, or one pair ``(i, j)`` (``"i,j"``).

    Returns:
        Its name and a function of (scores ``[..., Lx, Ly]``, whether higher is better).

    Raises:
        UsageError: Not one of these, or the pair is outside the matrix.
    """
    if text == "max":
        return "max", lambda s, higher: s.max(axis=(-2, -1)) if higher else s.min(axis=(-2, -1))
    if text == "mean":
        return "mean", lambda s, _: s.mean(axis=(-2, -1))
    try:
        i, j = (int(part) for part in (text.split(",") if isinstance(text, str) else text))
    except ValueError:
        raise UsageError(
            f"statistic {text!r} is unknown", "use 'max', 'mean' or a pair of rows such as '3,5'"
        ) from None
    if not (-n_x <= i < n_x and -n_y <= j < n_y):
        raise UsageError(f"statistic {i},{j} is outside the {n_x} x {n_y} matrix of scores", "count layers from 0")
    return f"{i},{j}", lambda s, _: s[..., i, j]


def calibrate(observed: float, null: Float64[np.ndarray, " K"], alpha: float, info: MetricInfo) -> Calibration:
    """Threshold, p-value and calibrated score of a statistic (Gröger, Wen, Brbić 2026, algorithms 1 and 2).

    Distances are negated, so that "greater" always means "more alike"; threshold and null are reported in the metric's own
    units.

    Raises:
        UsageError: alpha is not in (0, 1), or there is no null.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha={alpha!r} is outside (0, 1)", "0.05 is usual")
    if len(null) < 1:
        raise UsageError("a null of 0 permutations calibrates nothing", "use at least 1 permutation, 200 is usual")
    sign = 1.0 if info.higher_is_better else -1.0
    best = info.range[1] if info.higher_is_better else info.range[0]
    score, drawn = sign * observed, np.sort(sign * np.asarray(null, dtype=np.float64))
    together = np.sort(np.append(drawn, score))
    # 1 - alpha in binary is often a little above its decimal value, which would push the ceiling one too far.
    rank = math.ceil(round((1 - alpha) * len(together), 9))
    tau = float(together[min(max(rank, 1), len(together)) - 1])
    excess = max(0.0, score - tau)
    room = sign * best - tau if best is not None else None
    calibrated = excess if room is None else min(1.0, excess / max(room, 1e-12))
    p_value = (1 + int((drawn >= score).sum())) / len(together)
    return Calibration(observed, np.asarray(null, dtype=np.float64), sign * tau, p_value, calibrated, alpha)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the false discovery rate over m hypotheses (Benjamini and Hochberg 1995).

    q_(i) = min over j >= i of p_(j) m / j for p-values in ascending order; in [0, 1] and never below p.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted.tolist()
