"""Writing the features of one model: shard by shard, each process its own shards, while the next one is computed."""

import math
import os
from dataclasses import dataclass
from typing import Any

import torch

from interp_plugins.methods.extract.budget import choose_batch_plan
from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.jobs import Job
from interp_plugins.methods.extract.losses import loss_totals
from interp_plugins.methods.extract.passes import Listeners, PassPlan, check_pass_plan, run_shard
from interp_plugins.methods.extract.planning import BatchPlan, batches_of
from interp_plugins.methods.extract.sources import EncodedSource, ImageSource, Source, text_source
from interp_registry.contracts.method import RunContext
from interp_registry.contracts.model import Model
from interp_registry.events import EventSink
from interp_registry.stores.background import BackgroundWriter
from interp_registry.stores.features import FeatureEntry, FeaturePlan
from interp_registry.stores.tables import Column
from interp_registry.tensors.layers import select_layers

__all__ = ["Loaded", "load_job", "own_shards", "provenance_of", "write_features"]


@dataclass(frozen=True)
class Loaded:
    """A job whose model is in memory, with what is kept of its passes."""

    job: Job
    model: Model
    source: Source
    plan: PassPlan


def load_job(job: Job, config: ExtractConfig) -> Loaded:
    """Load the model, encode its texts, and check that it can give what is asked.

    Raises:
        InterpError: The model cannot be had, or cannot be pooled so.
    """
    model = job.model.load()
    source = _source(job, model, config)
    compat = config.compat is not None and model.info.modality == "language"
    plan = PassPlan(
        layers=tuple(select_layers(config.layers, model.info.layers, model.info.default_layers)),
        poolings=job.poolings,
        loss=config.loss and model.info.causal,
        left_width=max(source.lengths(range(len(source)))) if compat else None,
        dtype=getattr(torch, config.store_dtype),
        workers=config.workers,
    )
    check_pass_plan(model, plan)
    return Loaded(job, model, source, plan)


def write_features(loaded: Loaded, config: ExtractConfig, ctx: RunContext) -> FeatureEntry:
    """Compute and store what is missing of a job's pooled features.

    A batch plan that stands in the manifest is used again: another process or an interrupted run has chosen it.

    Raises:
        InterpError: A sample does not fit in memory, the disk is full, or a stored shard is corrupt.
    """
    entry = ctx.features.find(loaded.job.request)
    if entry is None:
        batch_plan = choose_batch_plan(config, loaded.model, loaded.source, loaded.plan)
        layout = _layout(loaded, config, batch_plan)
        entry = ctx.features.open(loaded.job.request, layout, provenance_of(loaded.model))
    stored = entry.plan["batch"]
    batch_plan = BatchPlan(stored["max_tokens"], stored["batch_size"], stored["bucket"])
    _write_shards(loaded, entry, batch_plan, ctx.events)
    _finish(loaded, entry)
    return entry


def own_shards(missing: list[int]) -> list[int]:
    """The missing shards that this process computes: shard k belongs to process k modulo their number."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    return [index for index in missing if index % world == rank]


def provenance_of(model: Model) -> dict[str, Any]:
    """What does not decide the key but may change the last bits."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": str(getattr(model, "device", "unknown")),
        "n_params": model.info.n_params,
        "model": dict(model.info.details),
    }


def _source(job: Job, model: Model, config: ExtractConfig) -> Source:
    if model.info.modality == "vision":
        return ImageSource(model, job.dataset)
    return text_source(model, job.dataset, config.caption, config.prompt)


def _layout(loaded: Loaded, config: ExtractConfig, batch_plan: BatchPlan) -> FeaturePlan:
    losses = {"nats": Column("float64"), "n_scored": Column("int64"), "n_bytes": Column("int64")}
    return FeaturePlan(
        n_rows=len(loaded.source),
        shard_rows=config.shard_rows,
        widths={str(layer): loaded.model.info.widths[layer] for layer in loaded.plan.layers},
        columns=losses if loaded.plan.loss else {},
        batch=batch_plan.to_json(),
    )


def _write_shards(loaded: Loaded, entry: FeatureEntry, batch_plan: BatchPlan, events: EventSink) -> None:
    missing = own_shards(entry.missing_shards())
    total = sum(len(entry.rows(index)) for index in missing)
    done = 0

    def on_rows(n_rows: int) -> None:
        nonlocal done
        done += n_rows
        events.progress(loaded.job.model.name, done, total, "samples")

    with BackgroundWriter(pending=1) as writer:  # so that a kill costs one computed shard at most
        for index in missing:
            rows = entry.rows(index)
            batches = batches_of(loaded.source.lengths(rows), batch_plan)
            values = run_shard(loaded.model, loaded.source, rows, batches, loaded.plan, Listeners(rows=on_rows))
            if loaded.plan.loss and isinstance(loaded.source, EncodedSource):
                sizes = [item.n_bytes for item in loaded.source.load(rows)]
                values.tensors["n_bytes"] = torch.tensor(sizes, dtype=torch.int64)
            notes = {"splits": values.splits} if values.splits else {}
            writer.submit(entry.write_shard, index, values.tensors, loaded.source.keys(rows), notes)


def _finish(loaded: Loaded, entry: FeatureEntry) -> None:
    """Declare the features complete once every process has written its shards; whoever sees that first does it."""
    if len(entry.present_shards()) < entry.n_shards:
        return
    totals: dict[str, Any] = {"n_params": loaded.model.info.n_params}
    if loaded.plan.loss:
        found = loss_totals(*(_column(entry, name) for name in ("nats", "n_scored", "n_bytes")))
        totals |= {name: getattr(found, name) for name in ("loss", "loss_micro", "bpb", "bpb_micro", "n_scored")}
    entry.finish({name: value if math.isfinite(value) else None for name, value in totals.items()})


def _column(entry: FeatureEntry, name: str) -> list[Any]:
    """All rows of a column, before the features are declared complete."""
    return [value for index in range(entry.n_shards) for value in entry.shard(index).tensor(name).tolist()]
