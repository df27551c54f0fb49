"""Whether the zoo shows what it should: every measurement, and the threshold that it must pass.

Alignment is mutual k-NN with k = 10 on the 1,024 evaluation scenes, features clamped at their 95 % quantile and
normalised, the best of all layer pairs (Huh et al. 2024). Layer 0 of a language model is a bag of tokens; what remains
without it is measured apart.

Axis letters: n items, l layers of a language model, v layers of a vision model.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from interp_plugins.embedded.world import same_words, twins
from interp_plugins.embedded.zoo import INIT_SUFFIX, folder, names
from interp_plugins.embedded.zoo.measuring import (
    ClipScores,
    EvaluationData,
    clip_scores,
    language_measurement,
    vision_features,
)
from interp_plugins.embedded.zoo.sources import step_generator
from interp_plugins.metrics.config import MutualKnnConfig
from interp_plugins.metrics.knn import MutualKnn
from interp_plugins.metrics.preparation import prepare_features
from interp_registry.contracts.metric import State

__all__ = ["Alignment", "Check", "Measurements", "checks", "measure", "metrics_of", "prepared"]

CAPTION_COUNTS = (1, 3, 5)
TOPK, N_PERMUTATIONS = 10, 20
LARGEST_LM, REFERENCE_VIT = "lm-d128", "vit-d64"
SIMCLR = "vit-d64-simclr"
MAX_BYTES = 15_000_000


@dataclass(frozen=True)
class Alignment:
    """One language model with one vision model."""

    scores: Float64[Tensor, "l v"]
    """Mutual k-NN of every layer pair, in [0, 1]; rows are the language model's layers, embeddings first."""

    @property
    def best(self) -> float:
        """The best layer pair."""
        return float(self.scores.max())

    @property
    def best_pair(self) -> tuple[int, int]:
        """Language layer and vision block (from 0) of the best pair."""
        row, column = divmod(int(self.scores.argmax()), self.scores.shape[1])
        return row, column

    @property
    def contextual(self) -> float:
        """The best layer pair without the embedding layer."""
        return float(self.scores[1:].max())

    @property
    def lexical(self) -> float:
        """The embedding layer alone: what a bag of tokens reaches."""
        return float(self.scores[0].max())


@dataclass
class Measurements:
    """Everything that was measured of a zoo."""

    alignment: dict[tuple[str, str, int], Alignment] = field(default_factory=dict)
    """(language model, vision model, captions per item) -> alignment; untrained controls end in ``-init``."""
    nats_per_token: dict[tuple[str, int], float] = field(default_factory=dict)
    """(language model, captions per item) -> loss."""
    null: dict[int, list[float]] = field(default_factory=dict)
    """Captions per item -> best layer pair of the largest language model with shuffled pairs, one per permutation."""
    clip: dict[str, ClipScores] = field(default_factory=dict)
    n_bytes: int = 0
    twin_mismatches: int = 0


@dataclass(frozen=True)
class Check:
    """One threshold: ``low <= value <= high``, where an open end is None."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the value lies within its bounds."""
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)


Progress = Callable[[str], None]


def measure(
    weights: Path | None = None, data: EvaluationData | None = None, progress: Progress = lambda _: None
) -> Measurements:
    """Measure a whole zoo.

    Args:
        weights: folder of model folders; the shipped one when None. Untrained controls are made from the recipes.
        data: scenes to measure on; the evaluation split when None.
        progress: told the name of every model before it is measured.
    """
    disable_progress_bar()  # the shell shows progress; a bar of the library's own would break into it
    data = EvaluationData() if data is None else data
    metric, found = MutualKnn(MutualKnnConfig(topk=TOPK)), Measurements()

    def place(name: str) -> Path:
        return folder(name) if weights is None or name.endswith(INIT_SUFFIX) else weights / name

    vision: dict[str, State] = {}
    for name in names("vision") + names("vision", untrained=True):
        progress(name)
        vision[name] = metric.prepare(prepared(vision_features(place(name), data.pictures)))
    for name in names("language") + names("language", untrained=True):
        progress(name)
        for n_captions in CAPTION_COUNTS:
            measured = language_measurement(place(name), data.texts(n_captions))
            found.nats_per_token[name, n_captions] = measured.nats_per_token
            state = metric.prepare(prepared(measured.features))
            for other, other_state in vision.items():
                found.alignment[name, other, n_captions] = Alignment(metric.score_pairs(state, other_state))
            if name == LARGEST_LM:
                found.null[n_captions] = _null(metric, state, vision[REFERENCE_VIT], data.n_items)
    for name in names("clip"):
        progress(name)
        found.clip[name] = clip_scores(place(name), data)
    found.n_bytes = sum(path.stat().st_size for name in names() for path in place(name).iterdir())
    items = twins("evaluation")
    pairs = zip(items.captions_a, items.captions_b, strict=True)
    found.twin_mismatches = sum(not same_words(one, other) for one, other in pairs)
    return found


def metrics_of(found: Measurements, name: str) -> dict[str, Any]:
    """What was measured of one model, for the manifest: loss, alignment with the models of the other modality, or CLIP scores."""
    if name in found.clip:
        return asdict(found.clip[name])
    side = 0 if name in names("language") else 1
    partners = names("vision") if side == 0 else names("language")
    pairs = {
        (partner, n): (name, partner, n) if side == 0 else (partner, name, n)
        for partner in partners
        for n in CAPTION_COUNTS
    }
    metrics: dict[str, Any] = {
        "mutual_knn": {f"{partner}, {n}": round(found.alignment[pair].best, 4) for (partner, n), pair in pairs.items()},
        "mutual_knn_without_layer_0": {
            f"{partner}, {n}": round(found.alignment[pair].contextual, 4) for (partner, n), pair in pairs.items()
        },
    }
    if side == 0:
        metrics["nats_per_token"] = {str(n): round(found.nats_per_token[name, n], 4) for n in CAPTION_COUNTS}
    return metrics


def prepared(features: Float[Tensor, "n l d"]) -> list[Float[Tensor, "n d"]]:
    """The published protocol: one clamp at the 95 % quantile over layers and items, then unit rows; one tensor per layer."""
    return prepare_features(features.unbind(dim=1), clamp="quantile-exact")


def _null(metric: MutualKnn, x: State, y: State, n_items: int) -> list[float]:
    """Best layer pair with the items of y shuffled, for each of several permutations."""
    generator = step_generator(0, 0)
    shuffles = torch.stack([torch.randperm(n_items, generator=generator) for _ in range(N_PERMUTATIONS)])
    return metric.null_pairs(x, y, shuffles).flatten(1).max(dim=1).values.tolist()


def checks(found: Measurements) -> list[Check]:
    """Every threshold with the value that was measured."""
    return [
        *_one_caption_checks(found),
        *_size_checks(found),
        *_three_caption_checks(found),
        *_null_checks(found),
        *_clip_checks(found.clip),
        Check("twins whose captions differ in words", found.twin_mismatches, high=0),
        Check("size of the zoo in bytes", found.n_bytes, high=MAX_BYTES),
    ]


def _one_caption_checks(found: Measurements) -> list[Check]:
    lowest = {"lm-d32": 0.050, "lm-d64": 0.060, "lm-d96": 0.060, LARGEST_LM: 0.075}
    result: list[Check] = []
    for name, low in lowest.items():
        best = found.alignment[name, REFERENCE_VIT, 1].best
        untrained_lm = found.alignment[name + INIT_SUFFIX, REFERENCE_VIT, 1].best
        untrained_vit = found.alignment[name, REFERENCE_VIT + INIT_SUFFIX, 1].best
        result += [
            Check(f"1 caption: {name} x {REFERENCE_VIT}", best, low),
            Check(f"1 caption: {name} over its untrained self", best / untrained_lm, 1.4),
            Check(f"1 caption: {name}, {REFERENCE_VIT} over untrained {REFERENCE_VIT}", best / untrained_vit, 1.7),
        ]
    result.append(Check(f"1 caption: {LARGEST_LM} x {SIMCLR}", found.alignment[LARGEST_LM, SIMCLR, 1].best, 0.050))
    return result


def _size_checks(found: Measurements) -> list[Check]:
    best = {name: found.alignment[name, REFERENCE_VIT, 1].best for name in names("language")}
    contextual = {name: found.alignment[name, REFERENCE_VIT, 1].contextual for name in names("language")}
    return [
        Check("1 caption: lm-d128 minus lm-d32", best["lm-d128"] - best["lm-d32"], 0.012),
        Check("1 caption: lm-d64 minus lm-d32", best["lm-d64"] - best["lm-d32"], -0.003),
        Check("1 caption: lm-d96 minus lm-d64", best["lm-d96"] - best["lm-d64"], -0.003),
        Check("1 caption: lm-d128 minus lm-d96", best["lm-d128"] - best["lm-d96"], -0.003),
        Check("1 caption without layer 0: lm-d64 minus lm-d32", contextual["lm-d64"] - contextual["lm-d32"], 0.008),
        Check("1 caption without layer 0: lm-d128 minus lm-d64", contextual["lm-d128"] - contextual["lm-d64"], 0.008),
    ]


def _three_caption_checks(found: Measurements) -> list[Check]:
    def best(lm: str, vit: str, n_captions: int = 3) -> float:
        return found.alignment[lm, vit, n_captions].best

    trained = best(LARGEST_LM, REFERENCE_VIT)
    return [
        Check(f"3 captions: {LARGEST_LM} x {REFERENCE_VIT}", trained, 0.15),
        Check(
            "3 captions: trained over untrained language model",
            trained / best(LARGEST_LM + INIT_SUFFIX, REFERENCE_VIT),
            1.8,
        ),
        Check(
            "3 captions: trained over untrained vision model",
            trained / best(LARGEST_LM, REFERENCE_VIT + INIT_SUFFIX),
            2.0,
        ),
        Check("3 captions: vit-d64 minus vit-d32", trained - best(LARGEST_LM, "vit-d32"), 0.015),
        Check(f"3 captions: {LARGEST_LM} x {SIMCLR}", best(LARGEST_LM, SIMCLR), 0.090),
        Check("3 captions minus 1 caption", trained - best(LARGEST_LM, REFERENCE_VIT, 1), 0.0),
        Check("5 captions minus 3 captions", best(LARGEST_LM, REFERENCE_VIT, 5) - trained, 0.0),
    ]


def _null_checks(found: Measurements) -> list[Check]:
    result = [
        Check(
            f"null of {LARGEST_LM} x {REFERENCE_VIT}, captions: {n}, mean over permutations",
            sum(found.null[n]) / len(found.null[n]),
            0.008,
            0.0125,
        )
        for n in (1, 3)
    ]
    for n_captions, high in ((1, 0.030), (3, 0.040)):
        both = [
            alignment.best
            for (lm, vit, n), alignment in found.alignment.items()
            if n == n_captions and lm.endswith(INIT_SUFFIX) and vit.endswith(INIT_SUFFIX)
        ]
        result.append(Check(f"untrained with untrained, captions: {n_captions}, largest", max(both), high=high))
    return result


def _clip_checks(clip: Mapping[str, ClipScores]) -> list[Check]:
    plain, compositional = clip["clip-bow"], clip["clip-comp"]
    return [
        Check("clip-bow: recall at 1, caption to picture, %", plain.text_to_image_recall_1, 12),
        Check("clip-bow: recall at 1, picture to caption, %", plain.image_to_text_recall_1, 12),
        Check("clip-bow: median rank", plain.median_rank, high=10),
        Check("clip-comp: twins group score, %", compositional.twins_group, 30),
        Check("clip-comp: twins group score of sizes, %", compositional.group_by_kind["size"], 75),
    ]
