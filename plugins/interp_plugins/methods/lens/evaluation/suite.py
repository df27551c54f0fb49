"""The suite at one layer: every lens and every baseline put in the place of the same activations.

Axes: n rows, m training rows, d width.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.contract import Lens, ReadsOut
from interp_plugins.methods.lens.dumped import Rows, Statistics
from interp_plugins.methods.lens.evaluation.config import PARTS
from interp_plugins.methods.lens.evaluation.effects import Effects, SwapMeter
from interp_plugins.methods.lens.evaluation.facts import KnowsFacts, true_facts
from interp_plugins.methods.lens.evaluation.interventions import (
    IDENTITY,
    MEAN,
    OTHER,
    RECONSTRUCTION,
    Case,
    Spoken,
    baselines,
    best_of,
    lens_interventions,
    partners,
    spoken,
)
from interp_plugins.methods.lens.evaluation.linear import comparable_rank, fit_probe
from interp_plugins.methods.lens.evaluation.readouts import Prediction, model_prediction, predictions
from interp_plugins.methods.lens.evaluation.resampling import Estimate
from interp_plugins.methods.lens.evaluation.scores import best_of_curve, prediction_scores, swap_scores
from interp_plugins.methods.lens.evaluation.words import Facts, TextScores, text_scores
from interp_plugins.methods.lens.readout.measures import tokens_and_bytes
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.contracts.method import Failure
from interp_registry.errors import DataError, InterpError

__all__ = ["BEST_OF", "LayerData", "LayerReport", "Settings", "evaluate_layer"]

_LOG = logging.getLogger(__name__)


BEST_OF = "best of {}"
_OTHER_MODEL = 0.1


@dataclass(frozen=True)
class LayerData:
    """Dumped rows of one layer."""

    rows: Rows
    """Rows to evaluate: of documents that no lens was trained on."""
    training: Rows
    """Rows that baselines and probes are fitted on."""
    statistics: Statistics
    """Moments of the training rows."""
    dataset: KnowsFacts | None = None
    """Where the documents are from, if it knows facts about them."""


@dataclass(frozen=True)
class Settings:
    """How to evaluate."""

    parts: frozenset[str] = frozenset(PARTS)
    """Which parts of the suite."""
    window: int = 8
    """Positions after the swapped one that are looked at."""
    batch_size: int = 64
    """Texts per forward pass."""
    n_tokens: int = 6
    """Tokens of a readout's token set, and of the linear bottleneck's size where no lens explains."""
    samples: int = 8
    """Samples of the best-of curve."""
    seed: int = 0
    """Seed of pairings, samples and resamples."""


@dataclass
class LayerReport:
    """What the suite found at one layer; scores by (lens, intervention), the baselines' lens being empty."""

    layer: int
    n_rows: int
    n_documents: int
    swaps: dict[tuple[str, str], dict[str, Estimate]] = field(default_factory=dict)
    readouts: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    model: dict[str, Estimate] = field(default_factory=dict)
    """The model's own predictions at the same places."""
    texts: dict[str, TextScores] = field(default_factory=dict)
    best_of: dict[str, list[Estimate]] = field(default_factory=dict)
    bottleneck: str = ""
    """How large the linear bottleneck is, in words."""
    failures: list[Failure] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values; each estimate as [value, low, high]."""

        def plain(scores: Mapping[str, Estimate]) -> dict[str, list[float]]:
            return {name: value.to_json() for name, value in scores.items()}

        swaps: dict[str, dict[str, Any]] = {}
        for (lens, name), scores in self.swaps.items():
            swaps.setdefault(lens or "baselines", {})[name] = plain(scores)
        return {
            "layer": self.layer,
            "rows": self.n_rows,
            "documents": self.n_documents,
            "swaps": swaps,
            "readouts": {name: plain(scores) for name, scores in self.readouts.items()},
            "model": plain(self.model),
            "texts": {name: scores.to_json() for name, scores in self.texts.items()},
            "best_of": {name: [value.to_json() for value in curve] for name, curve in self.best_of.items()},
        }


@dataclass
class _Gathered:
    """What the lenses made of a layer's rows."""

    values: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    said: dict[str, Spoken] = field(default_factory=dict)
    curves: dict[str, Tensor] = field(default_factory=dict)
    predicted: dict[str, Prediction] = field(default_factory=dict)

    def add(self, name: str, lens: Lens, case: Case, meter: SwapMeter, settings: Settings) -> None:
        """Run one lens over the rows; nothing is added when it fails.

        Raises:
            InterpError: What it made is not finite.
        """
        said, best, predicted = spoken(lens, case), None, None
        made = lens_interventions(lens, case, said, settings.n_tokens) if "swap" in settings.parts else {}
        if "best-of" in settings.parts:
            best = best_of(lens, case, settings.samples)
        if "readout" in settings.parts and isinstance(lens, ReadsOut):
            predicted = predictions(lens, case, meter)
        for kind, values in made.items():
            if not values.isfinite().all():
                raise InterpError(f"its {kind} is not finite", "the training may have diverged")
        self.values |= {(name, kind): values for kind, values in made.items()}
        if said is not None:
            self.said[name] = said
        if best is not None:
            self.curves[name] = best.expected_errors
            self.values[name, BEST_OF.format(settings.samples)] = best.best
        if predicted is not None:
            self.predicted[name] = predicted


def evaluate_layer(
    model: CausalLanguageModel,
    lenses: Mapping[str, Lens],
    layer: int,
    data: LayerData,
    settings: Settings,
    report: Callable[[int, int], None] | None = None,
) -> LayerReport:
    """Evaluate lenses at one layer; one that fails is recorded, the others go on.

    Args:
        model: The frozen model.
        lenses: Lenses by name; those that do not work at this layer are passed over.
        layer: Which layer.
        data: Rows of a dump.
        settings: What to measure.
        report: Called with (done, total) batches of the interventions.

    Raises:
        DataError: The dumped activations are not this model's.
        InterpError: Putting an activation in its own place changes a logit.
    """
    meter = SwapMeter(model, data.rows, layer, window=settings.window, batch_size=settings.batch_size)
    activations = meter.activations()
    _same_model(activations, data.rows.activations, layer)
    case = Case(
        model=model,
        layer=layer,
        rows=data.rows,
        activations=activations,
        training=data.training.activations,
        mean=data.statistics.mean,
        partner=partners(data.rows.documents, settings.seed),
        seed=settings.seed,
    )
    found = LayerReport(layer, len(data.rows), data.rows.documents.unique().numel())
    present = {name: lens for name, lens in lenses.items() if layer in lens.layers}
    gathered = _gather(present, case, meter, settings, found)
    if "swap" in settings.parts:
        _swap(case, meter, gathered, data, found, report)
    found.best_of = {name: best_of_curve(case, errors) for name, errors in gathered.curves.items()}
    if gathered.predicted:
        size = tokens_and_bytes(case.rows, model.tokenizer)
        found.model = prediction_scores(case, model_prediction(meter), *size)
        found.readouts = {name: prediction_scores(case, one, *size) for name, one in gathered.predicted.items()}
    if "text" in settings.parts:
        _judge_texts(gathered, case, data, found)
    return found


def _same_model(now: Float[Tensor, "n d"], dumped: Float[Tensor, "n d"], layer: int) -> None:
    """Check that the dump was made by this model: rounding to bfloat16 moves a vector by less than half a per cent."""
    moved = float((now - dumped).norm() / now.norm().clamp_min(1e-30))
    if not moved <= _OTHER_MODEL:
        raise DataError(
            f"the dumped activations of layer {layer} differ from the model's by {moved:.0%}",
            "dump again with this model",
        )


def _gather(
    lenses: Mapping[str, Lens], case: Case, meter: SwapMeter, settings: Settings, found: LayerReport
) -> _Gathered:
    """Run every lens over the rows; one of several that fails is recorded, for it may be a stranger's."""
    gathered = _Gathered()
    for name, lens in lenses.items():
        try:
            gathered.add(name, lens, case, meter, settings)
        except Exception as error:
            if len(lenses) == 1:
                raise
            _LOG.debug("lens %s at layer %d failed", name, case.layer, exc_info=True)
            found.failures.append(_failure(f"{name} at layer {case.layer}", error))
    n_tokens = max([said.n_tokens for said in gathered.said.values()], default=settings.n_tokens)
    rank = comparable_rank(n_tokens, case.model.unembedding.shape[0])
    found.bottleneck = f"Linear bottleneck: rank {rank}, coordinates of 16 bits, as many bits as {n_tokens} tokens."
    gathered.values = {("", kind): values for kind, values in baselines(case, n_tokens).items()} | gathered.values
    return gathered


def _failure(item: str, error: Exception) -> Failure:
    message = str(error) if isinstance(error, InterpError) else f"{type(error).__name__}: {error}"
    return Failure(item, type(error).__name__, " ".join(message.split()))


def _swap(
    case: Case,
    meter: SwapMeter,
    gathered: _Gathered,
    data: LayerData,
    found: LayerReport,
    report: Callable[[int, int], None] | None,
) -> None:
    """Measure all interventions, and check that the identity is one."""
    keys = {f"{lens}/{kind}": (lens, kind) for lens, kind in gathered.values}
    measured = meter.measure({key: gathered.values[pair] for key, pair in keys.items()}, report)
    effects = {keys[key]: value for key, value in measured.items()}
    _check_identity(effects["", IDENTITY], case.layer)
    references = {"mean": effects["", MEAN], "other": effects["", OTHER]}
    for pair, values in gathered.values.items():
        found.swaps[pair] = swap_scores(case, values, effects[pair], references, data.statistics.normalised_variance)


def _check_identity(effects: Effects, layer: int) -> None:
    changed = float(effects.logit_change.max())
    if changed != 0:
        raise InterpError(
            f"putting activations of layer {layer} in their own place changes logits by up to {changed:.3g}",
            "the model's passes are not reproducible here; nothing that swaps measure can be trusted",
        )


def _judge_texts(gathered: _Gathered, case: Case, data: LayerData, found: LayerReport) -> None:
    """Score explanations as text."""
    facts = _facts(data, case) if gathered.said else None
    for name, said in gathered.said.items():
        scores = found.swaps.get((name, RECONSTRUCTION), {})
        fve = scores["fve"].value if scores else torch.nan
        found.texts[name] = text_scores(case, said, fve, facts)


def _facts(data: LayerData, case: Case) -> Facts | None:
    if data.dataset is None:
        return None
    training = data.training.documents
    probe = fit_probe(data.training.activations, true_facts(data.dataset, training), training, case.seed)
    return Facts(data.dataset, true_facts(data.dataset, data.rows.documents), probe)
