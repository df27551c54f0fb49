"""The stage ``lens train``: dump where needed, train with the shared loop, store the lens."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from interp_plugins.methods.lens.config import LensTrainConfig
from interp_plugins.methods.lens.contract import Fits, Lens, Trains
from interp_plugins.methods.lens.dump import open_dump
from interp_plugins.methods.lens.dumped import Dump
from interp_plugins.methods.lens.loading import load_frozen
from interp_plugins.methods.lens.stored import save_lens
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.contracts.method import Result, RunContext
from interp_registry.errors import UsageError
from interp_registry.figures import Table
from interp_registry.training.loop import Tools, TrainingSummary, train

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["by_layer", "run"]


def run(config: LensTrainConfig, ctx: RunContext) -> Result:
    """Train a lens, going on from the run's last checkpoint if there is one.

    Activations that are not stored yet are dumped first. A lens without parameters is stored as it is.

    Raises:
        InterpError: The loss is not finite, or model, data or activations cannot be had.
    """
    model = load_frozen(config.model, config.loading, config.kind, ctx.device)
    dump, state = _dump(config, model, ctx)
    _share_statistics(dump, ctx)
    lens: Lens = config.method.build(model, dump)
    summary: TrainingSummary | None = None
    fitted: Mapping[str, float] = lens.fit(dump) if isinstance(lens, Fits) else {}
    if isinstance(lens, Trains):
        training = config.method.recipe(config.training)
        trainable = lens.trainable(dump, training, ctx.seed)
        summary = train(trainable, training, ctx.seed, Tools.of(ctx, training))
    facts = {"dump": dump.entry.key, "dump_digest": dump.digest, "seed": ctx.seed}
    if summary is not None:
        facts["steps"] = summary.steps
    folder = ctx.run.artifact("lens/lens.json").parent
    if ctx.is_main:
        save_lens(folder, lens, config.method, model, dump, facts)
    result = _result(lens, summary, dump, state, folder)
    if fitted:
        result.tables.append(Table.of_records(by_layer(fitted), title="Training rows"))
        result.data["fitted"] = dict(fitted)
    return result


def _dump(config: LensTrainConfig, model: CausalLanguageModel, ctx: RunContext) -> tuple[Dump, str]:
    """The activations to learn from.

    Raises:
        UsageError: They are of another model.
    """
    if config.dump is None:
        return open_dump(config, config.model, ctx, model)
    dump = Dump.open(ctx.activations, config.dump)
    if dump.revision not in (None, model.info.revision):
        raise UsageError(f"the activations {dump.entry.key} are those of {dump.model_name}, not of {config.model}")
    return dump, "present"


def _share_statistics(dump: Dump, ctx: RunContext) -> None:
    """Let several processes compute the statistics once between them; one alone computes those that it needs."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        accelerator = ctx.accelerator
        dump.share_statistics(
            accelerator.process_index,
            accelerator.num_processes,
            lambda values: cast("Tensor", accelerator.reduce(values.to(accelerator.device), reduction="sum")).cpu(),
        )


def _result(lens: Lens, summary: TrainingSummary | None, dump: Dump, state: str, folder: Path) -> Result:
    scalars: dict[str, Any] = {
        "steps": 0 if summary is None else summary.steps,
        "dump": dump.entry.key,
        "dumped": state,
    }
    result = Result(scalars=scalars, artifacts=[folder], data={"lens": dict(lens.describe())})
    if summary is None:
        return result
    result.scalars |= {name: value for name, value in {**summary.losses, **summary.metrics}.items() if "/" not in name}
    result.data["training"], result.data["validation"] = summary.losses, summary.metrics
    for title, values in (("Training rows, last batch", summary.losses), ("Validation rows", summary.metrics)):
        records = by_layer(values)
        if records:
            result.tables.append(Table.of_records(records, title=title))
    return result


def by_layer(values: Mapping[str, float]) -> list[dict[str, Any]]:
    """One record per layer out of values that are named ``measure/layer``."""
    records: dict[int, dict[str, Any]] = {}
    for name, value in values.items():
        measure, _, layer = name.partition("/")
        if layer.isdigit():
            records.setdefault(int(layer), {"layer": int(layer)})[measure] = value
    return [records[layer] for layer in sorted(records)]
