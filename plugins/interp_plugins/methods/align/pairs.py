"""Scores of many pairs of models by many metrics, each model prepared once."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from interp_plugins.methods.align.api import NullSettings, align_states
from interp_plugins.methods.align.calibration import parse_statistic
from interp_plugins.methods.align.config import FeatureOptions
from interp_plugins.methods.align.inputs import check_layers, check_prepared, group_samples
from interp_plugins.methods.align.intervals import GridPoint
from interp_plugins.methods.align.metric_choice import BoundMetric
from interp_plugins.methods.align.reading import LoadedFeatures
from interp_plugins.methods.align.result import Alignments
from interp_plugins.methods.align.sources import Source
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.preparation import prepare_features
from interp_registry.contracts.metric import State
from interp_registry.errors import DataError
from interp_registry.tensors.precision import precise_device

__all__ = ["ModelBank", "PairScore", "check_samples", "ranked", "score_pairs"]

_log = logging.getLogger(__name__)
_EMBEDDING = "0"
_STATE_BYTES = 2 << 30
_SHARED_GRAM_BYTES = 1 << 30


@dataclass
class PairScore:
    """One model pair under one metric.

    Attributes:
        x: First model.
        y: Second model.
        alignments: Scores of all layer pairs, and what was derived from them.
        searched_x: Rows of x that were searched.
        searched_y: Rows of y that were searched.
        metric: The metric.
        adjusted_p: p-value after Benjamini-Hochberg over the model pairs of the metric.
        curve: How the statistic moves with the number of samples, if that was asked for.
    """

    x: "ModelBank"
    y: "ModelBank"
    alignments: Alignments
    searched_x: list[int]
    searched_y: list[int]
    metric: BoundMetric
    adjusted_p: float | None = None
    curve: list[GridPoint] = field(default_factory=list)

    def statistic(self, scores: np.ndarray) -> np.ndarray:
        """The statistic that is reported, of scores ``[..., Lx, Ly]``."""
        part = scores[..., self.searched_x, :][..., self.searched_y]
        return parse_statistic(self.alignments.statistic, *part.shape[-2:])[1](part, self.alignments.higher_is_better)

    @property
    def addresses(self) -> tuple[str, str]:
        """Addresses of the best layers, x first."""
        i, j = self.alignments.best.layers
        return self.x.features.layers[i], self.y.features.layers[j]

    @property
    def embedding_score(self) -> float | None:
        """The best score that involves an embedding layer; None when neither model has one."""
        own_x, own_y = self.x.embedding_rows, self.y.embedding_rows
        sign, scores = self.alignments.sign, self.alignments.sign * self.alignments.scores
        found = [scores[own_x].max() if own_x else None, scores[:, own_y].max() if own_y else None]
        known = [float(value) for value in found if value is not None]
        return sign * max(known) if known else None


class ModelBank:
    """A model's features, prepared for comparison, and the states that metrics made of them.

    Args:
        source: Where the features are.
        options: How to prepare them.
        device: Where to compute; the CPU in its place where it has no float64.
        share: Whether several metrics will ask for Grams.
    """

    def __init__(self, source: Source, options: FeatureOptions, device: str, share: bool) -> None:
        self.source = source
        self.features: LoadedFeatures = source.load()
        check_layers(self.features.features, source.name)
        self._options, self._device, self._share = options, precise_device(device), share
        self._bank: LayerBank | None = None
        self.group: Tensor | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.source.name

    @property
    def bank(self) -> LayerBank:
        """The prepared layers."""
        if self._bank is None:
            options = self._options
            layers = [layer.to(self._device) for layer in self.features.features]
            prepared = prepare_features(
                layers, options.clamp, options.normalize, options.quantile, options.clamp_per_layer
            )
            check_prepared(prepared, self.name)
            keep = self._share and 4 * self.features.n**2 * len(prepared) <= _SHARED_GRAM_BYTES
            group = None if self.group is None else self.group.to(self._device)
            self._bank = LayerBank(prepared, keep, group)
        return self._bank

    @property
    def embedding_rows(self) -> list[int]:
        """Rows of the embedding layer: address 0 of a stored model."""
        features = self.features
        return [row for row, layer in enumerate(features.layers) if features.addressed and layer == _EMBEDDING]

    @property
    def searched(self) -> list[int]:
        """Rows that are searched for the best pair."""
        apart = set(self.embedding_rows) if self._options.skip_embedding else set[int]()
        rows = [row for row in range(len(self.features)) if row not in apart]
        if not rows:
            raise DataError(f"{self.name} has no layer but the embedding", "leave out --skip-embedding")
        return rows

    def release(self) -> None:
        """Forget the prepared layers and what was shared; they are made again when asked for."""
        self._bank = None


class _States:
    """The most recently used states, up to a number of bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], State] = OrderedDict()

    def get(self, model: ModelBank, metric: BoundMetric) -> State:
        """The metric's state of the model."""
        key = (id(model), id(metric))
        if key not in self._kept:
            self._kept[key] = metric.prepare(model.bank)
        self._kept.move_to_end(key)
        while len(self._kept) > 2 and self._bytes() > _STATE_BYTES:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _bytes(self) -> int:
        return sum(t.numel() * t.element_size() for state in self._kept.values() for t in state.values())


def check_samples(models: Sequence[ModelBank]) -> None:
    """Refuse models whose rows are not the same samples in the same order.

    Where the rows of a model repeat names, rows of one name are one sample (captions of an image), and all models are matched by name.

    Raises:
        DataError: Numbers or names of samples differ.
    """
    first = next((model for model in models if _repeats(model)), None)
    if first is not None:
        for model in models:
            layers = first.features.features, model.features.features
            _, model.group = group_samples(first.features.ids, model.features.ids, *layers)
        return
    first = models[0]
    for other in models[1:]:
        if other.features.n != first.features.n:
            raise DataError(
                f"{first.name} has {first.features.n} samples and {other.name} has {other.features.n}",
                "extract both from the same data set, with the same --n",
            )
        if first.features.ids and other.features.ids and first.features.ids != other.features.ids:
            at = next(i for i, (a, b) in enumerate(zip(first.features.ids, other.features.ids, strict=True)) if a != b)
            raise DataError(
                f"{first.name} and {other.name} were shown different samples: row {at} is {first.features.ids[at]!r} in one and "
                f"{other.features.ids[at]!r} in the other",
                "extract both from the same data set; a folder of images and a file of texts are one as FOLDER:captions=FILE",
            )


def _repeats(model: ModelBank) -> bool:
    ids = model.features.ids
    return ids is not None and len(set(ids)) < len(ids)


def ranked(pairs: Sequence[PairScore]) -> list[PairScore]:
    """Pairs from the most to the least alike."""
    return sorted(pairs, key=lambda pair: -pair.alignments.sign * pair.alignments.value)


def score_pairs(
    pairs: Sequence[tuple[ModelBank, ModelBank]],
    metrics: Sequence[BoundMetric],
    settings: NullSettings,
    progress: Callable[[float], None],
) -> Iterator[PairScore]:
    """Score every pair by every metric.

    Args:
        pairs: Pairs of models; pairs that share a first model should stand together.
        metrics: The metrics.
        settings: The null; the rows that are searched are those of the models.
        progress: Called with the number of finished (pair, metric) items, in fractions while one runs.
    """
    states, done = _States(), 0
    for x, y in pairs:
        for metric in metrics:
            own = _searching(settings, x, y)
            start = done

            def report(k: int, n: int, start: int = start) -> None:
                progress(start + k / n)

            both = states.get(x, metric), states.get(y, metric)
            scored = align_states(metric, both, len(x.features), y.bank, own, report)
            done += 1
            progress(done)
            yield PairScore(x, y, scored, x.searched, y.searched, metric)


def _searching(settings: NullSettings, x: ModelBank, y: ModelBank) -> NullSettings:
    return replace(settings, rows_x=x.searched, rows_y=y.searched)
