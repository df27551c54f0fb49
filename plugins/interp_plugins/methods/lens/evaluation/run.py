"""The stage ``lens eval``: load lenses and a dump, evaluate layer by layer, put tables and figures together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from interp_plugins.datasets.resolve import resolve_dataset, select_dataset
from interp_plugins.methods.lens.choices import LensConfig
from interp_plugins.methods.lens.contract import Lens
from interp_plugins.methods.lens.dump import choose_layers, open_dump
from interp_plugins.methods.lens.dumped import Dump
from interp_plugins.methods.lens.evaluation.config import PARTS, EvalConfig
from interp_plugins.methods.lens.evaluation.facts import KnowsFacts
from interp_plugins.methods.lens.evaluation.report import figures, tables
from interp_plugins.methods.lens.evaluation.suite import LayerData, LayerReport, Settings, evaluate_layer
from interp_plugins.methods.lens.loading import load_frozen
from interp_plugins.methods.lens.stored import find_lens, load_lens
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.choices import choice_names
from interp_registry.contracts.method import Failure, Result, RunContext
from interp_registry.errors import DataError, InterpError, UsageError
from interp_registry.stores.records import read_record
from interp_registry.stores.run import Run
from interp_registry.tensors.seeding import generator

__all__ = ["run"]


@dataclass(frozen=True)
class _Chosen:
    """What the user named: folders of trained lenses, and methods that need no training."""

    folders: Mapping[str, Path]
    methods: Sequence[str]


@dataclass(frozen=True)
class _Subject:
    """What is evaluated, on what."""

    model: CausalLanguageModel
    dump: Dump
    lenses: Mapping[str, Lens]
    dataset: KnowsFacts | None


def run(config: EvalConfig, ctx: RunContext) -> Result:
    """Evaluate lenses at every layer at which one of them works.

    One lens of several that fails, or one layer, is recorded and the others go on.

    Raises:
        InterpError: There is nothing to evaluate, or all of it failed.
    """
    chosen = _choose(config, ctx)
    records = [read_record(folder / "lens.json") for folder in chosen.folders.values()]
    name = config.model or next((str(record["model"]) for record in records), "lm-d128")
    model = load_frozen(name, config.loading, config.kind, ctx.device)
    dump = _dump(config, name, model, [str(record["dump"]) for record in records if record.get("dump")], ctx)
    failures: list[Failure] = []
    lenses = _load(chosen, model, dump, ctx, failures)
    subject = _Subject(model, dump, lenses, _knowing(config, chosen, dump))
    reports = _evaluate(config, subject, ctx, failures)
    return _result(reports, failures, subject)


def _choose(config: EvalConfig, ctx: RunContext) -> _Chosen:
    """Tell methods from runs; a name that is both a method and a folder is the method."""
    known = set(choice_names(LensConfig))
    methods = [name for name in config.lens if name in known]
    folders = {name: find_lens(name, ctx) for name in config.lens if name not in known}
    return _Chosen(folders, methods)


def _load(
    chosen: _Chosen, model: CausalLanguageModel, dump: Dump, ctx: RunContext, failures: list[Failure]
) -> dict[str, Lens]:
    """Lenses by the name under which they are shown: the method's, with the run's where two share one.

    Raises:
        InterpError: The only lens cannot be loaded.
    """
    lenses: dict[str, Lens] = {name: LensConfig.get_choice_class(name)().build(model, dump) for name in chosen.methods}
    for name, folder in chosen.folders.items():
        try:
            stored = load_lens(folder, model, ctx)
        except InterpError as error:
            if len(chosen.folders) + len(chosen.methods) == 1:
                raise
            failures.append(_failure(name, error))
            continue
        label = f"{stored.method} ({Path(name).name})" if stored.method in lenses else stored.method
        lenses[label] = stored.lens
    if not lenses:
        raise UsageError("none of the lenses can be loaded", failures[0].message)
    return lenses


def _dump(
    config: EvalConfig, name: str, model: CausalLanguageModel, trained_on: Sequence[str], ctx: RunContext
) -> Dump:
    """The activations to evaluate on.

    Raises:
        DataError: They have no validation documents, or are not complete.
    """
    key = config.dump or next(iter(trained_on), None)
    found = Dump.open(ctx.activations, key) if key is not None else open_dump(config, name, ctx, model)[0]
    if len(found.validation_rows) < 2:
        raise DataError(f"the activations {found.entry.key} have no validation documents", "dump more texts")
    return found


def _knowing(config: EvalConfig, chosen: _Chosen, dump: Dump) -> KnowsFacts | None:
    """The data set of the dump, if it is that of the configuration or of a lens's run, and knows facts about its texts."""
    named: list[tuple[str, int | None]] = [(config.dataset, config.limit)]
    for folder in chosen.folders.values():
        if (folder.parent / "record.json").is_file():
            settings = Run(folder.parent).config
            if "dataset" in settings:
                named.append((str(settings["dataset"]), settings.get("limit")))
    for text, limit in named:
        if select_dataset(text, limit).fingerprint == dump.entry.request["fingerprint"]:
            dataset = resolve_dataset(text)
            return dataset if isinstance(dataset, KnowsFacts) else None
    return None


def _evaluate(config: EvalConfig, subject: _Subject, ctx: RunContext, failures: list[Failure]) -> list[LayerReport]:
    """One report per layer, and the tables so far as events.

    Raises:
        InterpError: The only layer failed.
    """
    layers = _layers(config, subject)
    settings = Settings(
        parts=frozenset(PARTS if "all" in config.suite else config.suite),
        window=config.window,
        batch_size=config.batch_size,
        n_tokens=config.tokens,
        samples=config.samples,
        seed=ctx.seed,
    )
    reports: list[LayerReport] = []
    for layer in layers:
        data = _layer_data(config, subject, layer, ctx.seed)

        def progress(done: int, total: int, layer: int = layer) -> None:
            ctx.events.progress(f"layer {layer}", done, total, "batches")

        try:
            report = evaluate_layer(subject.model, subject.lenses, layer, data, settings, progress)
        except InterpError as error:
            if len(layers) == 1:
                raise
            failures.append(_failure(f"layer {layer}", error))
            continue
        failures += report.failures
        reports.append(report)
        ctx.events.progress("layers", len(reports), len(layers), "layers")
        for table in tables(reports):
            ctx.events.table(table.title, table)
    return reports


def _layers(config: EvalConfig, subject: _Subject) -> list[int]:
    """Layers that were dumped, are asked for, and at which some lens works.

    Raises:
        UsageError: There is none.
    """
    asked = choose_layers(config.layers, subject.model.info.layers[-1].index)
    able = {layer for lens in subject.lenses.values() for layer in lens.layers}
    found = [layer for layer in subject.dump.layers if layer in able and layer in asked]
    if not found:
        raise UsageError(
            f"no lens works at a dumped layer of {config.layers!r}",
            f"lenses work at {sorted(able)}, dumped are {list(subject.dump.layers)}",
        )
    return found


def _layer_data(config: EvalConfig, subject: _Subject, layer: int, seed: int) -> LayerData:
    dump = subject.dump
    return LayerData(
        rows=dump.rows(_some(dump.validation_rows, config.rows, seed, "evaluated rows"), layer),
        training=dump.rows(_some(dump.training_rows, config.training_rows, seed, "rows of baselines"), layer),
        statistics=dump.statistics(layer),
        dataset=subject.dataset,
    )


def _some(rows: Int[Tensor, "n"], size: int, seed: int, purpose: str) -> Int[Tensor, "k"]:
    """At most ``size`` of the rows, drawn without replacement; in their order, so that reading is quick."""
    chosen = torch.randperm(len(rows), generator=generator(seed, purpose))[:size]
    return rows[chosen.sort().values]


def _failure(item: str, error: InterpError) -> Failure:
    return Failure(item, type(error).__name__, " ".join(str(error).split()))


def _result(reports: Sequence[LayerReport], failures: list[Failure], subject: _Subject) -> Result:
    if not reports:
        raise InterpError("every layer failed", failures[0].message if failures else None)
    scalars = {
        "layers": len(reports),
        "lenses": ", ".join(subject.lenses),
        "rows": reports[0].n_rows,
        "texts": reports[0].n_documents,
        "dump": subject.dump.entry.key,
    }
    warnings = [
        f"{name} at layer {report.layer}: {verdict}"
        for report in reports
        for name, scores in report.texts.items()
        for verdict in scores.verdicts
    ]
    data = {"layers": [report.to_json() for report in reports], "verdicts": warnings}
    return Result(scalars, tables(reports), figures(reports), failures=failures, data=data)
