"""The library side of `interp align`: scores of all pairs of layers of two models, as a function."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from interp_plugins.methods.align.calibration import Statistic, calibrate, null_scores, parse_statistic, permutations
from interp_plugins.methods.align.inputs import Features, as_layers, check_same_samples
from interp_plugins.methods.align.metric_choice import BoundMetric, metric, resolve
from interp_plugins.methods.align.result import Alignments, Best
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.preparation import Clamp, prepare_features

__all__ = ["align", "align_states", "metric"]


def align(  # noqa: PLR0913 - the public face: every option is a keyword
    x: Features,
    y: Features,
    metric: Any = "mutual_knn",
    topk: int = 10,
    *,
    normalize: bool = True,
    clamp: Clamp | None = None,
    quantile: float = 0.95,
    compat: Literal["platonic"] | None = None,
    null: int | None = None,
    alpha: float = 0.05,
    statistic: Statistic = "max",
    seed: int = 0,
    keep_null_scores: bool = False,
    device: str | torch.device | None = None,
) -> Alignments:
    """How much two models agree on which samples are alike: scores of all pairs of their layers.

    Args:
        x: First model: a list of ``[n, d]`` arrays, or one array ``[n, layers, d]``; NumPy or torch.
        y: Second model, on the same samples in the same order.
        metric: A name, `interp.metric(...)`, a metric object, or a function of two matrices.
        topk: Number of neighbours, for a metric given by name.
        normalize: L2-normalise the rows (after the clamp).
        clamp: Clamp outliers at a quantile of absolute values; see `preparation.prepare_features`.
        quantile: The quantile of the clamp.
        compat: ``platonic`` reproduces the numerical quirks of the published code (an absolute 1e-6 in the CKA family, the
            seeded sketch in svcca). It does not swap x and y.
        null: Number of permutations of the null; None for none.
        alpha: Level of the calibration.
        statistic: What is calibrated: ``max`` over pairs, ``mean``, or a pair (i, j).
        seed: Seed of the permutations.
        keep_null_scores: Keep the ``[K, Lx, Ly]`` scores of the null.
        device: Where to compute; None: where the features are.

    Returns:
        Scores, best pair and, with a null, p-value, threshold and calibrated score.

    Raises:
        UsageError: An option is wrong.
        DataError: The features cannot be compared.
    """
    layers_x, layers_y = as_layers(x, "x", device), as_layers(y, "y", device)
    check_same_samples(layers_x, layers_y)
    chosen = resolve(metric, topk, compat)
    bank_x, bank_y = (
        LayerBank(prepare_features(layers, clamp, normalize, quantile)) for layers in (layers_x, layers_y)
    )
    settings = NullSettings(null, alpha, statistic, seed, keep_null_scores)
    return align_states(chosen, chosen.prepare(bank_x), chosen.prepare(bank_y), bank_y, settings)


@dataclass(frozen=True)
class NullSettings:
    """How to calibrate; see `align`."""

    n_permutations: int | None = None
    alpha: float = 0.05
    statistic: Statistic = "max"
    seed: int = 0
    keep: bool = False


def align_states(
    metric: BoundMetric, x: Any, y: Any, layers_y: LayerBank, settings: NullSettings, progress: Any = None
) -> Alignments:
    """Score two prepared models; see `align`.

    Args:
        metric: The metric that prepared them.
        x: State of the first model.
        y: State of the second model.
        layers_y: Layers of the second model.
        settings: The null.
        progress: Called with (done, total) permutations.
    """
    scores = metric.score_pairs(x, y).cpu().numpy()
    name, statistic = parse_statistic(settings.statistic, *scores.shape)
    best = best_pair(scores, metric.info.higher_is_better)
    calibration = kept = None
    if settings.n_permutations:
        drawn = permutations(layers_y.n, settings.n_permutations, settings.seed).to(layers_y[0].device)
        kept = null_scores(metric, x, y, drawn, layers_y, progress)
        higher = metric.info.higher_is_better
        observed = float(statistic(scores, higher))
        calibration = calibrate(observed, statistic(kept, higher), settings.alpha, metric.info)
    return Alignments(
        scores, best, metric.name, metric.options, layers_y.n, name, calibration, kept if settings.keep else None
    )


def best_pair(scores: np.ndarray, higher_is_better: bool = True) -> Best:
    """The best pair of layers; the first in row-major order among equals."""
    flat = int(np.nanargmax(scores) if higher_is_better else np.nanargmin(scores))
    i, j = divmod(flat, scores.shape[1])
    return Best(float(scores[i, j]), (i, j))
