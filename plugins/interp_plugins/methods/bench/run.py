"""`interp bench`: load models, score them on data sets, store JSON and CSV."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from interp_plugins.methods.bench import metrics
from interp_plugins.methods.bench.config import BenchConfig
from interp_plugins.methods.bench.embeddings import CachedEmbedder
from interp_plugins.methods.bench.image_only import ImageOnlyModel, load_bench_model
from interp_plugins.methods.bench.probe import linear_probe
from interp_plugins.methods.bench.scores import DatasetScores, Score, csv_text, score_table
from interp_plugins.methods.bench.suites import suite
from interp_plugins.methods.bench.tasks import Prompts, evaluate, image_classes, scores_of
from interp_registry.choices import DatasetConfig
from interp_registry.contracts.data import Dataset
from interp_registry.contracts.method import Failure, Result, RunContext
from interp_registry.errors import DataError, InterpError, ResourceError, UsageError
from interp_registry.stores.artifact import replace_text
from interp_registry.stores.keys import slug

__all__ = ["bench"]

_log = logging.getLogger(__name__)
EMBEDDED = ("clip-bow", "clip-comp")


def bench(config: BenchConfig, ctx: RunContext) -> Result:
    """Score every model on every data set; one that fails is recorded and the others go on.

    Raises:
        UsageError: A file of names, templates or published values cannot be read.
        ResourceError: The disk is full.
    """
    published = _published(config.compare)
    prompts = Prompts(_lines(config.class_names), _lines(config.templates))
    chosen = config.datasets or suite(config.suite)
    results: list[DatasetScores] = []
    failures: list[Failure] = []
    datasets = dict(_built(chosen, config.limit, failures))
    for name in config.models or EMBEDDED:
        try:
            model = load_bench_model(name, config.loading, ctx.device)
        except InterpError as err:
            failures.append(Failure(name, type(err).__name__, str(err)))
            continue
        embedder = CachedEmbedder(model, ctx.cache / "embeddings" if config.cache else None, ctx.events)
        for choice, dataset in datasets.items():
            try:
                scores = _scored(embedder, dataset, chosen[choice], prompts, config, ctx.seed)
            except ResourceError:
                raise  # a full disk is nothing of this data set's
            except InterpError as err:
                failures.append(Failure(f"{name} on {dataset.name}", type(err).__name__, str(err)))
                continue
            results.append(scores)
            _track(scores, ctx)
    if not results:
        raise DataError("nothing could be scored: " + "; ".join(f"{f.item}: {f.message}" for f in failures))
    return _stored(results, failures, published, ctx)


def _built(chosen: list[DatasetConfig], limit: int | None, failures: list[Failure]) -> Iterator[tuple[int, Dataset]]:
    for index, one in enumerate(chosen):
        try:
            if limit is not None and getattr(one, "limit", 0) is None:
                one = replace(one, limit=limit)  # noqa: PLW2901  # pyright: ignore[reportCallIssue]
            yield index, one.build().select(limit)
        except InterpError as err:
            failures.append(Failure(type(one).__name__, type(err).__name__, str(err)))


def _scored(
    embedder: CachedEmbedder, dataset: Dataset, choice: DatasetConfig, prompts: Prompts, config: BenchConfig, seed: int
) -> DatasetScores:
    """Scores by texts and, where it is asked for, by a linear probe; a model without texts has the probe alone.

    Raises:
        UsageError: The model has no texts, and the data set no classes to probe.
    """
    if not isinstance(embedder.model, ImageOnlyModel):
        scores = evaluate(embedder, dataset, prompts)
        if config.linear_probe or config.suite == "linear-probe":
            scores.scores |= _probe(embedder, dataset, choice, config.limit, seed)
        return scores
    found = _probe(embedder, dataset, choice, config.limit, seed)
    if not found:
        raise UsageError(
            f"{embedder.model.name!r} reads images only, and {dataset.name!r} has no labelled images with a training split",
            "it takes part in linear probes: --suite linear-probe, or a labelled data set",
        )
    return scores_of(embedder, dataset, "linear_probe", found)


def _probe(
    embedder: CachedEmbedder, dataset: Dataset, choice: DatasetConfig, limit: int | None, seed: int
) -> dict[str, Score]:
    if not dataset.class_names or not hasattr(choice, "split"):
        return {}
    training: Dataset = replace(choice, split="train").build().select(limit)  # pyright: ignore[reportCallIssue]
    train, labels = image_classes(embedder, training)
    test, right = image_classes(embedder, dataset)
    probe = linear_probe(train, labels, test, len(dataset.class_names), seed)
    found: dict[str, Any] = metrics.classification(probe.scores, right)
    names = {"top1_accuracy": "lp_acc1", "mean_per_class_recall": "lp_mean_per_class_recall"}
    return {new: Score(found[old], found["chance"][old], *found["interval"][old]) for old, new in names.items()}


def _track(scores: DatasetScores, ctx: RunContext) -> None:
    values = {f"{scores.model}/{scores.dataset}/{name}": score.value for name, score in scores.scores.items()}
    ctx.tracker.log(values, 0)


def _stored(
    results: list[DatasetScores],
    failures: list[Failure],
    published: dict[str, dict[str, float]] | None,
    ctx: RunContext,
) -> Result:
    artifacts = []
    for number, scores in enumerate(results):
        path = ctx.run.artifact(f"{number:03d}-{slug(scores.model)}-{slug(scores.dataset)}.json")
        replace_text(path, json.dumps(scores.to_json(), indent=2) + "\n")
        artifacts.append(path)
    table = ctx.run.artifact("scores.csv")
    replace_text(table, csv_text(results))
    main = {
        "acc1",
        "lp_acc1",
        "acc",
        "rsum",
        "text_acc",
        "image_acc",
        "pair_acc",
        "image_retrieval_recall@1",
        "text_retrieval_recall@1",
    }
    scalars = {
        f"{scores.model}/{scores.dataset}/{name}": score.value
        for scores in results
        for name, score in scores.scores.items()
        if name in main
    }
    tables = [score_table(results, published), *(extra for scores in results for extra in scores.tables)]
    return Result(scalars=scalars, tables=tables, artifacts=[*artifacts, table], failures=failures)


def _lines(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    lines = tuple(line.strip() for line in _text(path).splitlines() if line.strip())
    if not lines:
        raise UsageError(f"{str(path)!r} is empty", "it should have a line for each")
    return lines


def _text(path: Path) -> str:
    if path.is_fifo() and not str(path).startswith("/dev/"):  # what a shell writes into, as with <(...), is read
        raise UsageError(f"{path} is a pipe", "write the text into a file, and name that")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{str(path)!r} cannot be read: {err}") from err


def _published(path: Path | None) -> dict[str, dict[str, float]] | None:
    if path is None:
        return None
    try:
        content = json.loads(_text(path))
        return {name: {metric: float(value) for metric, value in values.items()} for name, values in content.items()}
    except (ValueError, AttributeError, TypeError) as err:
        raise UsageError(
            f"{str(path)!r} holds no published values: {err}", 'expected {"data set": {"metric": 0.5}}'
        ) from err
