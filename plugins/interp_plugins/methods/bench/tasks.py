"""One model on one data set: which task it is follows from the type of the samples.

Axis letters: n samples, o options, e joint embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from interp_plugins.datasets.image_text.base import check_captions
from interp_plugins.methods.bench import metrics
from interp_plugins.methods.bench.embeddings import CachedEmbedder
from interp_plugins.methods.bench.matching import choice_hits, winoground_hits
from interp_plugins.methods.bench.scores import DatasetScores, Score
from interp_registry.contracts.data import CaptionedImage, ChoiceSample, Dataset, LabelledSample, QuadSample
from interp_registry.errors import DataError, UsageError
from interp_registry.figures import Table

__all__ = ["Prompts", "evaluate", "image_classes", "scores_of"]

DEFAULT_TEMPLATES = ("a photo of a {c}.",)
WINOGROUND_NAMES = {"text_score": "text_acc", "image_score": "image_acc", "group_score": "acc"}


@dataclass(frozen=True)
class Prompts:
    """Class names and templates that go before a data set's own.

    Attributes:
        class_names: In the order of the labels; empty: the data set's.
        templates: With `{c}` or `{}` for the class; empty: the data set's, or "a photo of a {c}."
    """

    class_names: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


def evaluate(embedder: CachedEmbedder, dataset: Dataset, prompts: Prompts | None = None) -> DatasetScores:
    """All scores of a model on a data set.

    Args:
        embedder: The model.
        dataset: Pairs (retrieval), quads (Winoground), choices, or labelled images (classification).
        prompts: Class names and templates for classification.

    Raises:
        DataError: Captions or labels are not sane.
        UsageError: There is no benchmark for samples of this type.
    """
    first = dataset[0]
    if isinstance(first, LabelledSample):
        return _classification(embedder, dataset, prompts or Prompts())
    tasks = {CaptionedImage: _retrieval, QuadSample: _winoground, ChoiceSample: _choice}
    for sample_type, task in tasks.items():
        if isinstance(first, sample_type):
            return task(embedder, dataset)
    raise UsageError(
        f"{dataset.name!r} has samples of type {type(first).__name__}",
        "benchmarks take images with captions, quads, choices or labels",
    )


def _captions(dataset: Dataset) -> list[tuple[str, ...]]:
    captions = [dataset.captions_of(i) for i in range(len(dataset))]
    check_captions(dataset.name, [caption for of_sample in captions for caption in of_sample])
    return captions


def _scores(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Score]:
    return {new: Score(found[old], found["chance"][old], *found["interval"][old]) for old, new in names.items()}


def scores_of(embedder: CachedEmbedder, dataset: Dataset, task: str, scores: dict[str, Score]) -> DatasetScores:
    """Scores with the digests of the data and the weights that they belong to."""
    facts = {"fingerprint": dataset.fingerprint, "weights": embedder.model.revision}
    return DatasetScores(embedder.model.name, dataset.name, task, len(dataset), scores, facts=facts)


def _retrieval(embedder: CachedEmbedder, dataset: Dataset) -> DatasetScores:
    captions = _captions(dataset)
    owner = torch.tensor([row for row, of_row in enumerate(captions) for _ in of_row])
    texts = embedder.texts([caption for of_row in captions for caption in of_row])
    images = embedder.images((dataset.image(i) for i in range(len(dataset))), len(dataset), dataset.fingerprint)
    found: dict[str, Any] = metrics.retrieval(images, texts, owner)
    scores: dict[str, Score] = {}
    for way, name in (("t2i", "image_retrieval"), ("i2t", "text_retrieval")):
        part = {**found[way], "chance": found["chance"][way], "interval": found["interval"][way]}
        scores |= _scores(part, {key: f"{name}_{key.replace('recall@', 'recall@')}" for key in found[way]})
    scores["rsum"] = _rsum(found)
    return scores_of(embedder, dataset, "zeroshot_retrieval", scores)


def _rsum(found: Mapping[str, Any]) -> Score:
    """RSUM with an interval that adds up those of its parts (wider than the true one: the parts go together)."""
    recalls = [found["interval"][way][key] for way in ("i2t", "t2i") for key in found[way] if key.startswith("recall")]
    low, high = (100 * sum(ends) for ends in zip(*recalls, strict=True))
    return Score(found["rsum"], found["chance"]["rsum"], low, high)


def _winoground(embedder: CachedEmbedder, dataset: Dataset) -> DatasetScores:
    captions = _captions(dataset)
    texts = embedder.texts([caption for pair in captions for caption in pair]).double().reshape(len(dataset), 2, -1)
    pictures = (image for sample in dataset for image in sample.images)
    images = embedder.images(pictures, 2 * len(dataset), dataset.fingerprint).double().reshape(len(dataset), 2, -1)
    similarity = torch.einsum("nce,nie->nci", texts, images)
    parts = [similarity[:, c, i] for c in (0, 1) for i in (0, 1)]
    result = scores_of(
        embedder, dataset, "image_caption_selection", _scores(metrics.winoground(*parts), WINOGROUND_NAMES)
    )
    result.tables = _by_tag(dataset, winoground_hits(*parts), f"{embedder.model.name} on {dataset.name}")
    return result


def _by_tag(dataset: Dataset, hits: Mapping[str, Bool[Tensor, "n"]], title: str) -> list[Table]:
    tables = []
    for column, values in getattr(dataset, "tags", {}).items():
        rows = []
        for value in sorted(set(values)):
            chosen = torch.tensor([one == value for one in values])
            row: dict[str, Any] = {column: value or "(none)", "n": int(chosen.sum())}
            for name, hit in hits.items():
                share = hit[chosen].double().mean().item()
                low, high = metrics.wilson_interval(share, int(chosen.sum()))
                row |= {name: share, f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
        tables.append(
            Table.of_records(rows, title=f"{title} by {column}", name=f"{title} by {column}".replace("/", "-"))
        )
    return tables


def _choice(embedder: CachedEmbedder, dataset: Dataset) -> DatasetScores:
    captions = _captions(dataset)
    flat = embedder.texts([caption for options in captions for caption in options]).double()
    images = embedder.images(
        (dataset.image(i) for i in range(len(dataset))), len(dataset), dataset.fingerprint
    ).double()
    n_options = torch.tensor([len(options) for options in captions])
    scores = torch.full((len(dataset), int(n_options.max())), -torch.inf, dtype=torch.float64)
    start = 0
    for row, size in enumerate(n_options.tolist()):
        scores[row, :size] = flat[start : start + size] @ images[row]
        start += size
    answers = torch.tensor(_answers(dataset, "answer"))
    found = _scores(metrics.choice(scores, answers, n_options), {"accuracy": "acc"})
    hits = choice_hits(scores, answers, n_options)
    found |= _group_scores(hits, n_options, getattr(dataset, "groups", {}))
    result = scores_of(embedder, dataset, "image_caption_selection", found)
    result.tables = _by_tag(dataset, {"acc": hits}, f"{embedder.model.name} on {dataset.name}")
    return result


def _group_scores(hits: Bool[Tensor, "n"], n_options: Tensor, groups: Mapping[str, Sequence[str]]) -> dict[str, Score]:
    """Share of pairs or sets all of whose members are right; chance is the product of the members' chances."""
    scores = {}
    for name, keys in groups.items():
        right, found = metrics.groups_right(hits, keys)
        if not found:
            continue
        chances: dict[Any, float] = {}
        for key, size in zip(keys, n_options.tolist(), strict=True):
            chances[key] = chances.get(key, 1.0) / size
        share = right.double().mean().item()
        chance = sum(chances[key] for key in found) / len(found)
        scores[f"{name}_acc"] = Score(share, chance, *metrics.wilson_interval(share, len(found)))
    return scores


def _classification(embedder: CachedEmbedder, dataset: Dataset, prompts: Prompts) -> DatasetScores:
    images, labels = image_classes(embedder, dataset)
    names = prompts.class_names or dataset.class_names
    if not names or int(labels.max()) >= len(names):
        raise DataError(
            f"{dataset.name!r} has labels up to {int(labels.max())} and {len(names)} class names",
            "give a file of class names, a line each, with --class-names",
        )
    templates = prompts.templates or tuple(getattr(dataset, "templates", ())) or DEFAULT_TEMPLATES
    texts = [_filled(template, name) for name in names for template in templates]
    owner = torch.arange(len(names)).repeat_interleave(len(templates))
    weights = metrics.class_weights(embedder.texts(texts).double(), owner)
    found = metrics.classification(100 * images.double() @ weights.T, labels)
    wanted = {"top1_accuracy": "acc1", "top5_accuracy": "acc5", "mean_per_class_recall": "mean_per_class_recall"}
    result = scores_of(embedder, dataset, "zeroshot_classification", _scores(found, wanted))
    result.facts |= {"n_classes": len(names), "templates": list(templates)}
    return result


def image_classes(embedder: CachedEmbedder, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Image embeddings and labels of a labelled data set."""
    images = (dataset.image(index) for index in range(len(dataset)))
    embeddings = embedder.images(images, len(dataset), dataset.fingerprint)
    return embeddings, torch.tensor(_answers(dataset, "label"))


def _answers(dataset: Dataset, field: str) -> list[int]:
    """Right options or classes; images are decoded for them only where the data set does not know them otherwise."""
    known = getattr(dataset, "answers", ())
    return list(known) if known else [int(getattr(sample, field)) for sample in dataset]


def _filled(template: str, name: str) -> str:
    if "{c}" not in template and "{}" not in template:
        raise UsageError(f"the template {template!r} has no place for the class", "write {c} or {}")
    return template.replace("{c}", name).replace("{}", name)
