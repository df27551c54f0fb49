"""The library side of `interp align`: scores of all pairs of layers of two models, as a function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from interp_plugins.methods.align.calibration import Statistic, calibrate, null_scores, parse_statistic, permutations
from interp_plugins.methods.align.inputs import (
    Features,
    as_layers,
    check_prepared,
    check_same_samples,
    group_samples,
)
from interp_plugins.methods.align.intervals import IntervalSettings, interval
from interp_plugins.methods.align.metric_choice import BoundMetric, metric, resolve
from interp_plugins.methods.align.reading import load_features
from interp_plugins.methods.align.result import Alignments, Best
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.preparation import Clamp, prepare_features
from interp_registry.contracts.metric import State
from interp_registry.errors import DataError, PluginError
from interp_registry.notebook import notebook_progress

__all__ = ["NullSettings", "align", "align_states", "best_pair", "load_features", "metric"]

_ROUNDING = 1e-3
"""How far a score may lie beyond the range that its metric states."""


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
    ci: Literal["auto", "subsample", "jackknife"] | None = None,
    ci_level: float = 0.95,
    seed: int = 0,
    keep_null_scores: bool = False,
    ids_x: Sequence[object] | None = None,
    ids_y: Sequence[object] | None = None,
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
        ci: Confidence interval of the statistic: ``subsample`` (without replacement), ``jackknife`` (where it is exact), or
            ``auto``, the jackknife where there is one.
        ci_level: Its coverage.
        seed: Seed of the permutations and subsamples.
        keep_null_scores: Keep the ``[K, Lx, Ly]`` scores of the null.
        ids_x: Name of the sample of each row of x, where a sample has several rows (captions of an image) or rows are in another
            order than those of y. Neighbours are then found by the most similar rows of two samples; other metrics see the mean
            row of each sample.
        ids_y: The same for y.
        device: Where to compute; None: where the features are.

    Returns:
        Scores, best pair and, with a null, p-value, threshold and calibrated score.

    Raises:
        UsageError: An option is wrong.
        DataError: The features cannot be compared.
    """
    layers_x, layers_y = as_layers(x, "x", device), as_layers(y, "y", device)
    groups = group_samples(ids_x, ids_y, layers_x, layers_y)
    if groups[0] is None:
        check_same_samples(layers_x, layers_y)
    chosen = resolve(metric, topk, compat)
    prepared = [prepare_features(layers, clamp, normalize, quantile) for layers in (layers_x, layers_y)]
    for layers, side in zip(prepared, "xy", strict=True):
        check_prepared(layers, side)
    bank_x, bank_y = (
        LayerBank(layers, group=_on_device_of(layers, group)) for layers, group in zip(prepared, groups, strict=True)
    )
    settings = NullSettings(null, alpha, statistic, seed, keep_null_scores)
    shown = notebook_progress("align", null or 0, "permutations")
    states = chosen.prepare(bank_x), chosen.prepare(bank_y)
    found = align_states(chosen, states, len(bank_x), bank_y, settings, lambda done, _: shown(done))
    if ci is None:
        return found
    summary = partial(settings.summary, higher_is_better=chosen.info.higher_is_better)
    estimate = interval(chosen, bank_x, bank_y, summary, found.value, IntervalSettings(ci, ci_level, seed=seed))
    return replace(found, interval=estimate)


def _on_device_of(layers: Sequence[Tensor], group: Tensor | None) -> Tensor | None:
    return None if group is None else group.to(layers[0].device)


@dataclass(frozen=True)
class NullSettings:
    """How to calibrate; see `align`. ``rows_x`` and ``rows_y`` restrict the search to some layers, None for all."""

    n_permutations: int | None = None
    alpha: float = 0.05
    statistic: Statistic = "max"
    seed: int = 0
    keep: bool = False
    rows_x: Sequence[int] | None = None
    rows_y: Sequence[int] | None = None

    def summary(self, scores: np.ndarray, higher_is_better: bool = True) -> np.ndarray:
        """The statistic of scores ``[..., Lx, Ly]``, over the layers that are searched."""
        part = self.searched(scores)
        return parse_statistic(self.statistic, *part.shape[-2:])[1](part, higher_is_better)

    def searched(self, scores: np.ndarray) -> np.ndarray:
        """The rows and columns that are searched, of scores ``[..., Lx, Ly]``."""
        chosen = scores if self.rows_x is None else scores[..., list(self.rows_x), :]
        return chosen if self.rows_y is None else chosen[..., list(self.rows_y)]


def align_states(
    metric: BoundMetric,
    states: tuple[State, State],
    n_layers_x: int,
    layers_y: LayerBank,
    settings: NullSettings,
    progress: Callable[[int, int], None] | None = None,
) -> Alignments:
    """Score two prepared models; see `align`.

    Args:
        metric: The metric that prepared them.
        states: What it made of the first model and of the second.
        n_layers_x: Number of layers of the first model.
        layers_y: Layers of the second model.
        settings: The null and the layers that are searched.
        progress: Called with (done, total) permutations.

    Raises:
        PluginError: The metric did not score every pair of layers, or not under every permutation.
        DataError: A score is not a number.
    """
    scores = metric.score_pairs(*states).cpu().numpy()
    _check(metric, scores, (n_layers_x, len(layers_y)), "layer pairs")
    searched, higher = settings.searched(scores), metric.info.higher_is_better
    name, statistic = parse_statistic(settings.statistic, *searched.shape)
    calibration = kept = None
    if settings.n_permutations:
        drawn = permutations(layers_y.n, settings.n_permutations, settings.seed).to(layers_y[0].device)
        kept = null_scores(metric, *states, drawn, layers_y, progress)
        _check(metric, kept, (settings.n_permutations, *scores.shape), "scores of the null")
        null = statistic(settings.searched(kept), higher)
        calibration = calibrate(float(statistic(searched, higher)), null, settings.alpha, metric.info)
    return Alignments(
        scores=scores,
        best=best_pair(scores, higher, settings.rows_x, settings.rows_y),
        metric=metric.name,
        options=metric.options,
        n=layers_y.n,
        statistic=name,
        value=float(statistic(searched, higher)),
        higher_is_better=higher,
        calibration=calibration,
        null_scores=kept if settings.keep else None,
    )


def _check(metric: BoundMetric, scores: np.ndarray, expected: tuple[int, ...], what: str) -> None:
    """Refuse scores of another shape or beyond the metric's own range, which are its fault, and scores that are no numbers."""
    if scores.shape != expected or np.iscomplexobj(scores):
        found = f"{scores.dtype} of shape {scores.shape}"
        raise PluginError(f"metric {metric.name!r} returned {found} for {what}; expected real numbers of {expected}")
    if not np.isfinite(scores).all():
        raise DataError(f"{metric.name} is not a number for {(~np.isfinite(scores)).sum()} of {scores.size} {what}")
    (low, high), least, most = metric.info.range, scores.min(), scores.max()
    if (low is not None and least < low - _ROUNDING) or (high is not None and most > high + _ROUNDING):
        raise PluginError(
            f"metric {metric.name!r} returned {what} from {least:g} to {most:g}; it states a range of {low} to {high}"
        )


def best_pair(
    scores: np.ndarray,
    higher_is_better: bool = True,
    rows_x: Sequence[int] | None = None,
    rows_y: Sequence[int] | None = None,
) -> Best:
    """The best pair of layers among some rows and columns; the first in row-major order among equals."""
    rows = list(range(scores.shape[0]) if rows_x is None else rows_x)
    columns = list(range(scores.shape[1]) if rows_y is None else rows_y)
    part = scores[np.ix_(rows, columns)]
    i, j = divmod(int(np.nanargmax(part) if higher_is_better else np.nanargmin(part)), len(columns))
    return Best(float(part[i, j]), (rows[i], columns[j]))
