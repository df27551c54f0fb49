"""Figures of an alignment run, as data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from interp_plugins.methods.align.config import AlignConfig
from interp_plugins.methods.align.pairs import ModelBank, PairScore, ranked
from interp_registry.figures import Figure, HeatMap, Histogram, Lines, Scatter, Series

__all__ = ["classical_mds", "clustered_order", "figures"]

_MOST_LAYER_MAPS = 24
_MOST_HISTOGRAMS = 12
_SMALLEST_MAP = 3
_FACTS = {
    "bpb": ("bits per byte", False),
    "loss": ("loss (nats per token)", False),
    "n_params": ("parameters", True),
}


def figures(scored: Sequence[PairScore], config: AlignConfig) -> list[Figure]:
    """All figures of a run: model maps first, then layers, nulls and trends."""
    found: list[Figure] = []
    for metric in dict.fromkeys(pair.alignments.metric for pair in scored):
        own = [pair for pair in scored if pair.alignments.metric == metric]
        found += _model_figures(_Grid(own), config)
        found += _against_facts(own)
        best_first = ranked(own)
        found += [layer_map(pair) for pair in best_first[:_MOST_LAYER_MAPS] if pair.alignments.scores.size > 1]
        found += [depth_curves(own)] if any(min(pair.alignments.scores.shape) > 1 for pair in own) else []
        found += [sample_curves(own)] if any(pair.curve for pair in own) else []
        found += [null_histogram(pair) for pair in best_first[:_MOST_HISTOGRAMS] if pair.alignments.null is not None]
    return found


@dataclass
class _Grid:
    """Pairs of one metric, laid out as a matrix of models."""

    pairs: Sequence[PairScore]

    def __post_init__(self) -> None:
        self.metric = self.pairs[0].alignments.metric
        self.x = list(dict.fromkeys(pair.x.name for pair in self.pairs))
        self.y = list(dict.fromkeys(pair.y.name for pair in self.pairs))
        self.within = set(self.x) & set(self.y) != set() or (len(self.x) == 1 and len(self.pairs) == 1)
        if self.within:
            self.x = self.y = list(dict.fromkeys([*self.x, *self.y]))

    def matrix(self, value: Callable[[PairScore], float | None]) -> np.ndarray:
        """Values by model of x and of y; NaN where there is none; mirrored when models are compared with themselves."""
        out = np.full((len(self.x), len(self.y)), np.nan)
        for pair in self.pairs:
            i, j = self.x.index(pair.x.name), self.y.index(pair.y.name)
            number = value(pair)
            out[i, j] = np.nan if number is None else number
            if self.within:
                out[j, i] = out[i, j]
        return out


def layer_map(pair: PairScore) -> HeatMap:
    """Scores of all pairs of layers, the best one marked."""
    result = pair.alignments
    rest = "" if result.calibration is None else f"; p = {result.p_value:.3g}, calibrated {result.calibrated:.3f}"
    return HeatMap(
        values=result.scores.tolist(),
        rows=tuple(pair.x.features.layers),
        columns=tuple(pair.y.features.layers),
        row_title=f"layer of {pair.x.name}",
        column_title=f"layer of {pair.y.name}",
        units=_units(pair),
        marked=(result.best.layers,),
        title=f"{result.metric}: {pair.x.name} and {pair.y.name}",
        caption=f"n = {result.n}; best {result.best.score:.3f} at layers {pair.addresses[0]}, {pair.addresses[1]}{rest}.",
    )


def null_histogram(pair: PairScore) -> Histogram:
    """The statistic of each permutation, the observed one and the threshold."""
    result, calibration = pair.alignments, pair.alignments.calibration
    if calibration is None:
        raise ValueError("there is no null")
    return Histogram.of(
        calibration.null,
        observed=calibration.observed,
        threshold=calibration.threshold,
        x_title=f"{result.metric} ({result.statistic} over layer pairs)",
        threshold_label=f"threshold at alpha = {calibration.alpha:g}",
        title=f"Null of {result.metric}: {pair.x.name} and {pair.y.name}",
        caption=f"{len(calibration.null)} permutations of the samples, the same for all layers; p = {result.p_value:.3g}.",
    )


def depth_curves(pairs: Sequence[PairScore]) -> Lines:
    """For each pair the best score of each layer of x over the layers of y, against relative depth."""
    series = []
    for pair in pairs:
        sign = pair.alignments.sign
        best = sign * (sign * pair.alignments.scores).max(axis=1)
        depth = np.linspace(0, 1, len(best)) if len(best) > 1 else np.array([1.0])
        series.append(Series(f"{pair.x.name} | {pair.y.name}", tuple(depth), tuple(best), markers=True))
    first = pairs[0]
    return Lines(
        tuple(series),
        x_title="relative depth in x",
        y_title=_units(first),
        title=f"{first.alignments.metric} over depth",
        caption="For each layer of the first model, its best score over the layers of the second.",
    )


def sample_curves(pairs: Sequence[PairScore]) -> Lines:
    """The statistic on subsamples of growing size, with its spread, and the mean of its null."""
    series = []
    for pair in pairs:
        n, mean = tuple(float(p.n) for p in pair.curve), np.array([p.mean for p in pair.curve])
        spread, null = np.array([p.deviation for p in pair.curve]), tuple(p.null for p in pair.curve)
        name = f"{pair.x.name} | {pair.y.name}"
        series.append(Series(name, n, tuple(mean), tuple(mean - spread), tuple(mean + spread), markers=True))
        series.append(Series(f"{name} (null)", n, null, dashed=True))
    first = pairs[0]
    return Lines(
        tuple(series),
        x_title="number of samples",
        y_title=_units(first),
        x_log=True,
        title=f"{first.alignments.metric} over the number of samples",
        caption="Mean and standard deviation over subsamples without replacement; dashed: mean over permutations.",
    )


def clustered_order(values: np.ndarray) -> tuple[int, ...]:
    """Order of rows in which similar ones stand together (average linkage, optimal leaf order)."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import pdist

    if len(values) < _SMALLEST_MAP:
        return ()
    filled = np.where(np.isfinite(values), values, np.nanmax(values))
    distances = pdist(filled)
    return tuple(int(i) for i in leaves_list(optimal_leaf_ordering(linkage(distances, method="average"), distances)))


def classical_mds(distances: np.ndarray, n_dims: int = 2) -> np.ndarray:
    """Coordinates ``[m, n_dims]`` whose Euclidean distances approximate the given ones (Torgerson 1952)."""
    m = len(distances)
    centring = np.eye(m) - 1 / m
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    order = np.argsort(values)[::-1][:n_dims]
    return vectors[:, order] * np.sqrt(np.clip(values[order], 0, None))


def _units(pair: PairScore) -> str:
    result = pair.alignments
    topk = result.options.get("topk")
    return result.metric if topk is None else f"{result.metric}, k = {topk}"


def _model_figures(grid: _Grid, config: AlignConfig) -> list[Figure]:
    if len(grid.pairs) < 2:
        return []
    found: list[Figure] = [_model_map(grid, lambda p: p.alignments.value, "score", "alignment")]
    if config.n_permutations is not None:
        found.append(_model_map(grid, lambda p: p.alignments.calibrated, "calibrated", "calibrated alignment"))
    if grid.within and len(grid.x) >= _SMALLEST_MAP:
        found.append(_mds_map(grid))
    return found


def _model_map(grid: _Grid, value: Callable[[PairScore], float | None], kind: str, words: str) -> HeatMap:
    values, first = grid.matrix(value), grid.pairs[0]
    statistic = {"max": "best layer pair", "mean": "mean over layer pairs"}.get(
        first.alignments.statistic, "one layer pair"
    )
    order = clustered_order(values)
    null = [p.alignments.null.mean() for p in grid.pairs if p.alignments.null is not None]
    chance = f" Mean of the permutation null {np.mean(null):.4f}." if null and kind == "score" else ""
    return HeatMap(
        values=values.tolist(),
        rows=tuple(grid.x),
        columns=tuple(grid.y),
        units=f"{_units(first)} ({words})",
        row_order=order,
        column_order=order if grid.within else clustered_order(values.T),
        title=f"{grid.metric}: {words} of models",
        name=f"models_{grid.metric}_{kind}",
        caption=f"{statistic.capitalize()}, n = {first.alignments.n}.{chance}",
    )


def _mds_map(grid: _Grid) -> Scatter:
    info = grid.pairs[0].alignments
    scores = info.sign * grid.matrix(lambda pair: pair.alignments.value)
    top = max(1.0 if info.higher_is_better else 0.0, float(np.nanmax(scores)))
    distances = np.where(np.eye(len(scores), dtype=bool), 0.0, np.nan_to_num(top - scores))
    places = classical_mds(np.clip((distances + distances.T) / 2, 0, None))
    return Scatter(
        x=tuple(places[:, 0]),
        y=tuple(places[:, 1]),
        labels=tuple(grid.x),
        equal_axes=True,
        title=f"Map of models by {info.metric}",
        caption="Classical multidimensional scaling of (top - score); only distances between points mean anything.",
    )


def _against_facts(pairs: Sequence[PairScore]) -> list[Figure]:
    """Alignment against what is known of the models of either side: loss, bits per byte, parameters."""
    found: list[Figure] = []
    others = {fact for pair in pairs for model in (pair.x, pair.y) for fact in model.features.facts} - set(_FACTS)
    for fact, (words, log) in (_FACTS | {fact: (fact, False) for fact in sorted(others)}).items():
        for side, other in (("x", "y"), ("y", "x")):
            points = [(_model(pair, side), _model(pair, other), pair) for pair in pairs]
            known = [(m.features.facts[fact], o.name, m.name, p) for m, o, p in points if fact in m.features.facts]
            if len({value for value, *_ in known}) < _SMALLEST_MAP:
                continue
            found.append(
                Scatter(
                    x=tuple(value for value, *_ in known),
                    y=tuple(pair.alignments.value for *_, pair in known),
                    labels=tuple(name for _, _, name, _ in known),
                    groups=tuple(group for _, group, _, _ in known),
                    x_title=words,
                    y_title=_units(known[0][3]),
                    x_log=log,
                    regression=True,
                    title=f"{known[0][3].alignments.metric} against {words} ({side})",
                    caption=f"{len(known)} model pairs; colour: the model on the other side.",
                )
            )
    return found


def _model(pair: PairScore, side: str) -> ModelBank:
    return pair.x if side == "x" else pair.y
