"""The stage ``extract``: every model that was asked for, shard by shard into the store."""

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp_plugins.datasets.resolve import select_dataset
from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.jobs import Job, one_line, plan_jobs
from interp_plugins.methods.extract.shard_writer import Entry, load_job, write
from interp_registry.contracts.method import Failure, Result, RunContext
from interp_registry.errors import CorruptError
from interp_registry.figures import Table
from interp_registry.stores.features import FeatureEntry
from interp_registry.stores.maintenance import repair

__all__ = ["run"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one job."""

    job: Job
    entries: list[Entry]
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
        try:
            outcomes.append(_extract(job, config, ctx))
        except (Exception, SystemExit) as err:
            if ctx.stopping or (len(jobs) == 1 and not failures):
                raise
            logger.debug("extraction of %s failed", job.model.name, exc_info=err)
            failures.append(one_line(job.model.name, err))
            ctx.events.message(f"{job.model.name} failed: {failures[-1].message}", "error")
    _wait_for_others(ctx)
    return _result(outcomes, failures)


def _extract(job: Job, config: ExtractConfig, ctx: RunContext) -> Outcome:
    """Everything that is asked of one model: pooled features, token activations, or both; what is stored is kept."""
    started = time.monotonic()
    if config.repair:
        _repair([ctx.features.folder / job.request.key, ctx.activations.folder / job.token_request.key], ctx)
    features, tokens = ctx.features.find(job.request), ctx.activations.find(job.token_request)
    wanted = [entry for entry, asked in ((features, job.request.pools), (tokens, job.tokens)) if asked]
    if all(entry is not None and entry.complete and not _missing(entry) for entry in wanted):
        return Outcome(job, [entry for entry in wanted if entry is not None], "present", 0.0)
    entries = write(load_job(job, config), config, ctx)
    return Outcome(job, entries, "extracted", time.monotonic() - started)


def _missing(entry: Entry) -> bool:
    """Whether shards are missing; what is there is checked.

    Raises:
        CorruptError: A shard is not what was written.
    """
    if isinstance(entry, FeatureEntry):
        return bool(entry.missing_shards())
    found = entry.problems("parts")
    if found:
        raise CorruptError(found[0].reason, "the same command with --repair computes it again")
    return False


def _repair(folders: list[Path], ctx: RunContext) -> None:
    for folder in folders:
        for problem in repair(folder) if folder.is_dir() else ():
            ctx.events.message(f"removed {problem.path.name} of {folder.name}: {problem.reason}", "warning")


def _wait_for_others(ctx: RunContext) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        ctx.accelerator.wait_for_everyone()


def _result(outcomes: list[Outcome], failures: list[Failure]) -> Result:
    computed = sum(outcome.state == "extracted" for outcome in outcomes)
    counts = {"models": len(outcomes) + len(failures), "failed": len(failures)}
    rows = [_row(outcome, entry) for outcome in outcomes for entry in outcome.entries]
    result = Result(
        scalars={**counts, "extracted": computed, "present": len(outcomes) - computed},
        artifacts=[entry.path for outcome in outcomes for entry in outcome.entries],
        failures=failures,
        data={
            kind: [{"model": row["model"], "key": row["key"]} for row in rows if row["stored"] == kind]
            for kind in ("features", "activations")
        },
    )
    if rows:
        result.tables.append(Table.of_records(rows, title="Features"))
    return result


def _row(outcome: Outcome, entry: Entry) -> dict[str, Any]:
    totals = entry.totals or {}
    widths = sorted({column.shape[0] for column in entry.columns.values() if column.shape})
    return {
        "model": outcome.job.model.name,
        "reads": {"language": "text", "vision": "images"}[outcome.job.model.modality],
        "parameters": totals.get("n_params"),
        "layers": len(entry.layers),
        "width": widths[0] if len(widths) == 1 else f"{widths[0]}-{widths[-1]}",
        "loss": totals.get("loss"),
        "bpb": totals.get("bpb"),
        "stored": entry.kind,
        "state": outcome.state,
        "seconds": round(outcome.seconds, 2),
        "key": entry.key,
    }
