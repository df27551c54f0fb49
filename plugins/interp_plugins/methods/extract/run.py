"""The stage ``extract``: every model that was asked for, shard by shard into the store."""

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from interp_plugins.datasets.resolve import select_dataset
from interp_plugins.methods.extract.budget import choose_batch_plan
from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.jobs import Job, one_line, plan_jobs
from interp_plugins.methods.extract.losses import loss_totals
from interp_plugins.methods.extract.passes import Listeners, PassPlan, check_pass_plan, run_shard
from interp_plugins.methods.extract.planning import BatchPlan, batches_of
from interp_plugins.methods.extract.sources import EncodedSource, ImageSource, Source, text_source
from interp_registry.contracts.method import Failure, Result, RunContext
from interp_registry.contracts.model import Model
from interp_registry.events import EventSink
from interp_registry.figures import Table
from interp_registry.stores.features import FeatureEntry, FeaturePlan
from interp_registry.stores.tables import Column
from interp_registry.tensors.layers import select_layers

__all__ = ["run"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one job."""

    job: Job
    entry: FeatureEntry
    state: str
    seconds: float


def run(config: ExtractConfig, ctx: RunContext) -> Result:
    """Extract the features of every model; one that fails is recorded and the others go on.

    Raises:
        InterpError: Wrong usage, or the only model failed.
    """
    dataset = select_dataset(config.dataset, config.limit, config.shuffle_seed)
    jobs, failures = plan_jobs(config, dataset, ctx.catalog, ctx.device)
    outcomes: list[Outcome] = []
    for job in jobs:
        if ctx.stopping:
            break
        try:
            outcomes.append(_extract(job, config, ctx))
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as err:
            if len(jobs) == 1 and not failures:
                raise
            logger.debug("extraction of %s failed", job.model.name, exc_info=err)
            failures.append(one_line(job.model.name, err))
            ctx.events.message(f"{job.model.name} failed: {failures[-1].message}", "error")
    _wait_for_others(ctx)
    return _result(outcomes, failures)


def _extract(job: Job, config: ExtractConfig, ctx: RunContext) -> Outcome:
    started = time.monotonic()
    entry = ctx.features.find(job.request)
    if entry is not None and config.repair:
        for problem in entry.repair():
            ctx.events.message(f"removed {problem.path.name} of {entry.key}: {problem.reason}", "warning")
    if entry is not None and entry.complete and not entry.missing_shards():
        return Outcome(job, entry, "present", 0.0)
    model = job.model.load()
    work = _prepare(job, model, config, ctx, entry)
    _write_shards(work, ctx.events)
    _finish(work)
    return Outcome(job, work.entry, "extracted", time.monotonic() - started)


@dataclass(frozen=True)
class _Work:
    """A loaded model with all that its shards need."""

    name: str
    model: Model
    source: Source
    entry: FeatureEntry
    plan: PassPlan
    batch_plan: BatchPlan


def _prepare(job: Job, model: Model, config: ExtractConfig, ctx: RunContext, entry: FeatureEntry | None) -> _Work:
    layers = tuple(select_layers(config.layers, model.info.layers, model.info.default_layers))
    source = _source(job, model, config)
    compat = config.compat is not None and model.info.modality == "language"
    plan = PassPlan(
        layers,
        job.poolings,
        loss=config.loss and model.info.causal,
        left_width=max(source.lengths(range(len(source)))) if compat else None,
        dtype=getattr(torch, config.store_dtype),
        workers=config.workers,
    )
    check_pass_plan(model, plan)
    if entry is None:
        batch_plan = choose_batch_plan(config, model, source, plan)
        layout = _layout(model, plan, source, config, batch_plan)
        entry = ctx.features.open(job.request, layout, _provenance(model))
    stored = entry.plan["batch"]
    batch_plan = BatchPlan(stored["max_tokens"], stored["batch_size"], stored["bucket"])
    return _Work(job.model.name, model, source, entry, plan, batch_plan)


def _source(job: Job, model: Model, config: ExtractConfig) -> Source:
    if model.info.modality == "vision":
        return ImageSource(model, job.dataset)
    return text_source(model, job.dataset, config.caption, config.prompt)


def _layout(model: Model, plan: PassPlan, source: Source, config: ExtractConfig, batch_plan: BatchPlan) -> FeaturePlan:
    columns = {"nats": Column("float64"), "n_scored": Column("int64"), "n_bytes": Column("int64")} if plan.loss else {}
    return FeaturePlan(
        n_rows=len(source),
        shard_rows=config.shard_rows,
        widths={str(layer): model.info.widths[layer] for layer in plan.layers},
        columns=columns,
        batch=batch_plan.to_json(),
    )


def _provenance(model: Model) -> dict[str, Any]:
    """What does not decide the key but may change the last bits."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": str(getattr(model, "device", "unknown")),
        "n_params": model.info.n_params,
        "model": dict(model.info.details),
    }


def _write_shards(work: _Work, events: EventSink) -> None:
    """Compute and write the shards of this process that are missing; a shard is written while the next one is computed."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    missing = [index for index in work.entry.missing_shards() if index % world == rank]
    total = sum(len(work.entry.rows(index)) for index in missing)
    done = 0

    def on_rows(n_rows: int) -> None:
        nonlocal done
        done += n_rows
        events.progress(work.name, done, total, "samples")

    with ThreadPoolExecutor(1, thread_name_prefix="write") as writer:
        pending = None
        for index in missing:
            tensors, splits = _compute_shard(work, index, Listeners(rows=on_rows))
            if pending is not None:
                pending.result()
            ids = work.source.keys(work.entry.rows(index))
            notes = {"splits": splits} if splits else {}
            pending = writer.submit(work.entry.write_shard, index, tensors, ids, notes)
        if pending is not None:
            pending.result()


def _compute_shard(work: _Work, index: int, listeners: Listeners) -> tuple[dict[str, torch.Tensor], list[Any]]:
    rows = work.entry.rows(index)
    batches = batches_of(work.source.lengths(rows), work.batch_plan)
    values = run_shard(work.model, work.source, rows, batches, work.plan, listeners)
    if work.plan.loss and isinstance(work.source, EncodedSource):
        sizes = [item.n_bytes for item in work.source.load(rows)]
        values.tensors["n_bytes"] = torch.tensor(sizes, dtype=torch.int64)
    return values.tensors, values.splits


def _finish(work: _Work) -> None:
    """Declare the features complete once every process has written its shards; whoever sees that first does it."""
    if len(work.entry.present_shards()) < work.entry.n_shards:
        return
    totals: dict[str, Any] = {"n_params": work.model.info.n_params}
    if work.plan.loss:
        found = loss_totals(*(_column(work.entry, name) for name in ("nats", "n_scored", "n_bytes")))
        totals |= {name: getattr(found, name) for name in ("loss", "loss_micro", "bpb", "bpb_micro", "n_scored")}
    work.entry.finish(totals)


def _column(entry: FeatureEntry, name: str) -> list[float]:
    """All rows of a column, before the features are declared complete."""
    return [value for index in range(entry.n_shards) for value in entry.shard(index).tensor(name).tolist()]


def _wait_for_others(ctx: RunContext) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        ctx.accelerator.wait_for_everyone()


def _result(outcomes: list[Outcome], failures: list[Failure]) -> Result:
    rows = [_row(outcome) for outcome in outcomes]
    failed = {"models": len(outcomes) + len(failures), "failed": len(failures)}
    computed = sum(outcome.state == "extracted" for outcome in outcomes)
    result = Result(
        scalars={**failed, "extracted": computed, "present": len(outcomes) - computed},
        artifacts=[outcome.entry.path for outcome in outcomes],
        failures=failures,
        data={"features": [{"model": row["model"], "key": row["key"]} for row in rows]},
    )
    if rows:
        result.tables.append(Table.of_records(rows, title="Features"))
    return result


def _row(outcome: Outcome) -> dict[str, Any]:
    entry = outcome.entry
    totals = entry.totals or {}
    widths = sorted(set(entry.widths.values()))
    return {
        "model": outcome.job.model.name,
        "modality": outcome.job.model.modality,
        "parameters": totals.get("n_params"),
        "layers": len(entry.layers),
        "width": widths[0] if len(widths) == 1 else f"{widths[0]}-{widths[-1]}",
        "loss": totals.get("loss"),
        "bits per byte": totals.get("bpb"),
        "state": outcome.state,
        "seconds": round(outcome.seconds, 2),
        "key": entry.key,
    }
