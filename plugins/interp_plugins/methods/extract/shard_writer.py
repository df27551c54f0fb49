"""Writing the features and tokens of one model: shard by shard, each process its own shards, while the next one is computed."""

import math
import os
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from interp_plugins.methods.extract.budget import choose_batch_plan
from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.jobs import Job
from interp_plugins.methods.extract.losses import loss_totals
from interp_plugins.methods.extract.passes import Listeners, PassPlan, ShardValues, check_pass_plan, run_shard
from interp_plugins.methods.extract.planning import batches_of
from interp_plugins.methods.extract.sources import EncodedSource, ImageSource, Source, text_source
from interp_plugins.methods.extract.tokens import TokenCollector, expected_tokens, samples_per_shard, token_plan
from interp_plugins.methods.extract.work import Cut, Work
from interp_registry.contracts.method import RunContext
from interp_registry.contracts.model import Model
from interp_registry.errors import DataError
from interp_registry.events import EventSink
from interp_registry.stores.activations import ActivationEntry
from interp_registry.stores.background import BackgroundWriter
from interp_registry.stores.features import FeatureEntry, FeaturePlan
from interp_registry.stores.hashing import Algorithm
from interp_registry.stores.tables import Column
from interp_registry.tensors.layers import select_layers

__all__ = ["Entry", "Loaded", "load_job", "own_shards", "provenance_of", "write"]

Entry: TypeAlias = FeatureEntry | ActivationEntry
"""What one model's extraction is stored in."""


_BIG = 1 << 30
_COMPARED = 16


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


def write(loaded: Loaded, config: ExtractConfig, ctx: RunContext) -> list[Entry]:
    """Compute and store what is missing of a job's pooled features and token activations, both in one pass over the data.

    A cut that stands in a manifest is used again: another process or an interrupted run has chosen it. Where features and tokens
    were begun with cuts that differ, each takes a pass of its own.

    Raises:
        InterpError: A sample does not fit in memory, the disk is full, or a stored shard is corrupt.
    """
    entries: list[Entry] = []
    for work in _works(loaded, config, ctx):
        _write_shards(loaded, work, ctx.events)
        _finish(loaded, work)
        entries += [entry for entry in (work.features, work.tokens) if entry is not None]
    return entries


def _works(loaded: Loaded, config: ExtractConfig, ctx: RunContext) -> list[Work]:
    """One work for features and tokens that are cut alike, else one for each."""
    job, n_rows = loaded.job, len(loaded.source)
    features = ctx.features.find(job.request) if job.request.pools else None
    tokens = ctx.activations.find(job.token_request) if job.tokens else None
    if features is not None:
        _refuse_other_samples(features, loaded)
    cut_of_features = None if features is None else Cut.of_features(features)
    cut = None if tokens is None else Cut.of_tokens(tokens)
    if cut is None and cut_of_features is not None and (cut_of_features.batch.group is not None or not job.tokens):
        cut = cut_of_features
    cut = cut or _choose_cut(loaded, config)
    if job.request.pools and features is None:
        digest = _digest_for(loaded, n_rows * len(job.request.pools))
        features = ctx.features.open(job.request, _layout(loaded, cut), provenance_of(loaded.model), digest)
    if job.tokens and tokens is None:
        layout = token_plan(loaded.model, loaded.plan.layers, cut.to_json())
        n_tokens = expected_tokens(loaded.model, loaded.source.lengths(range(n_rows)))
        digest = _digest_for(loaded, n_tokens)
        tokens = ctx.activations.open(job.token_request, layout, provenance_of(loaded.model), digest)
    if features is None or tokens is None or cut_of_features in (None, cut):
        return [Work(cut, n_rows, features, tokens)]
    return [Work(cut_of_features, n_rows, features), Work(cut, n_rows, tokens=tokens)]


def _refuse_other_samples(entry: FeatureEntry, loaded: Loaded) -> None:
    """Compare names of stored rows with the data: a data set whose fingerprint is of its own making may hide another order.

    Raises:
        DataError: They differ, so that rows to come would not belong to those that are there.
    """
    for index in entry.present_shards():
        rows, stored = entry.rows(index), entry.shard(index).info["ids"]
        step = 1 if isinstance(loaded.source, EncodedSource) else max(len(rows) // _COMPARED, 1)
        for row, before, now in zip(rows[::step], stored[::step], loaded.source.keys(rows[::step]), strict=True):
            if before != now:
                raise DataError(
                    f"{loaded.job.dataset.name} has its samples in another order than before: "
                    f"sample {row} is {now!r} and was {before!r}",
                    f"put them in a fixed order; `interp store rm {entry.key}` forgets what is stored of them",
                )


def _digest_for(loaded: Loaded, n_vectors: float) -> Algorithm:
    """The digest of shards: sha256, or xxh3 from a GiB on, where the processor time of hashing would set the speed of writing."""
    width = sum(loaded.model.info.widths[layer] for layer in loaded.plan.layers)
    return "xxh3" if n_vectors * width * loaded.plan.dtype.itemsize >= _BIG else "sha256"


def _choose_cut(loaded: Loaded, config: ExtractConfig) -> Cut:
    batch = choose_batch_plan(config, loaded.model, loaded.source, loaded.plan, keep_tokens=loaded.job.tokens)
    if loaded.job.tokens:
        lengths = loaded.source.lengths(range(len(loaded.source)))
        size = samples_per_shard(loaded.model, loaded.plan.layers, lengths, loaded.plan.dtype)
        batch = replace(batch, group=min(size, config.shard_rows))
    return Cut(config.shard_rows, batch)


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
    source = text_source(model, job.dataset, config.caption, config.prompt)
    job.witness.check()
    return source


def _layout(loaded: Loaded, cut: Cut) -> FeaturePlan:
    losses = {"nats": Column("float64"), "n_scored": Column("int64"), "n_bytes": Column("int64")}
    return FeaturePlan(
        n_rows=len(loaded.source),
        shard_rows=cut.shard_rows,
        widths={str(layer): loaded.model.info.widths[layer] for layer in loaded.plan.layers},
        columns=losses if loaded.plan.loss else {},
        batch=cut.batch.to_json(),
    )


def _write_shards(loaded: Loaded, work: Work, events: EventSink) -> None:
    missing = work.missing()
    mine = own_shards(list(missing))
    progress = _Progress(
        loaded.job.model.name, sum(len(rows) for index in mine for rows in missing[index].values()), events
    )
    with BackgroundWriter(pending=1) as writer:
        for index in mine:
            parts = [_write_group(loaded, work, group, writer, progress) for group in missing[index].items()]
            if work.features is not None and sum(len(part.rows) for part in parts) == len(work.shards[index]):
                writer.submit(_write_features, work.features, index, parts, loaded.source.keys(work.shards[index]))


@dataclass
class _Progress:
    """Tells how many samples are done."""

    name: str
    total: int
    events: EventSink
    done: int = 0

    def add(self, n_rows: int) -> None:
        """So many more."""
        self.done += n_rows
        self.events.progress(self.name, self.done, self.total, "samples")


@dataclass(frozen=True)
class _Part:
    """What the passes over one group gave of its pooled features."""

    rows: range
    values: ShardValues


def _write_group(
    loaded: Loaded, work: Work, group: tuple[int, range], writer: BackgroundWriter, progress: _Progress
) -> _Part:
    """Compute one group; its tokens are handed to the writer.

    What was computed before is on the disk ahead of the last batch, so that a kill costs one computed shard at most.
    """
    number, rows = group
    batches = batches_of(loaded.source.lengths(rows), work.cut.batch)
    left = len(batches)

    def on_batch(n_rows: int) -> None:
        nonlocal left
        left -= 1
        progress.add(n_rows)
        if left == 1:
            writer.drain()

    if left == 1:
        writer.drain()
    collector = None if work.tokens is None else TokenCollector(loaded.model, loaded.plan.dtype)
    plan = loaded.plan if work.features is not None else replace(loaded.plan, poolings=(), loss=False)
    listeners = Listeners(None if collector is None else collector.add, on_batch)
    values = run_shard(loaded.model, loaded.source, rows, batches, plan, listeners)
    if isinstance(loaded.source, ImageSource):
        loaded.job.witness.check()
    if plan.loss and isinstance(loaded.source, EncodedSource):
        sizes = [item.n_bytes for item in loaded.source.load(rows)]
        values.tensors["n_bytes"] = torch.tensor(sizes, dtype=torch.int64)
    if work.tokens is not None and collector is not None:
        writer.submit(work.tokens.write_shard, number, collector.take(rows), _notes([values]))
    return _Part(rows, values)


def _write_features(entry: FeatureEntry, index: int, parts: list[_Part], keys: list[str]) -> None:
    names = parts[0].values.tensors
    whole = (
        names if len(parts) == 1 else {name: torch.cat([part.values.tensors[name] for part in parts]) for name in names}
    )
    entry.write_shard(index, whole, keys, _notes([part.values for part in parts]))


def _notes(values: list[ShardValues]) -> dict[str, Any]:
    splits = [split for part in values for split in part.splits]
    return {"splits": splits} if splits else {}


def _finish(loaded: Loaded, work: Work) -> None:
    """Declare all complete once every process has written its shards; whoever sees that first does it."""
    totals: dict[str, Any] = {"n_params": loaded.model.info.n_params}
    if work.tokens is not None and len(work.tokens.present_shards()) == work.n_groups:
        work.tokens.finish(work.n_groups, dict(totals))
    entry = work.features
    if entry is None or len(entry.present_shards()) < entry.n_shards:
        return
    if loaded.plan.loss:
        found = loss_totals(*(_column(entry, name) for name in ("nats", "n_scored", "n_bytes")))
        totals |= {name: getattr(found, name) for name in ("loss", "loss_micro", "bpb", "bpb_micro", "n_scored")}
    entry.finish({name: value if math.isfinite(value) else None for name, value in totals.items()})


def _column(entry: FeatureEntry, name: str) -> list[Any]:
    """All rows of a column, before the features are declared complete."""
    return [value for index in range(entry.n_shards) for value in entry.shard(index).tensor(name).tolist()]
