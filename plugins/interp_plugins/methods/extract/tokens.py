"""Token activations: every token of every sample at the chosen layers, into the activation store."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from interp_plugins.methods.extract.passes import Listeners, run_shard
from interp_plugins.methods.extract.planning import BatchPlan, batches_of, shards_of
from interp_plugins.methods.extract.shard_writer import Loaded, own_shards, provenance_of
from interp_registry.contracts.method import RunContext
from interp_registry.contracts.model import Batch
from interp_registry.errors import UsageError
from interp_registry.stores.activations import ActivationEntry, ActivationPlan, vector_name
from interp_registry.stores.background import BackgroundWriter
from interp_registry.stores.tables import Column
from interp_registry.tensors.layers import Layer
from interp_registry.tensors.pooling import as_tokens

__all__ = ["write_tokens"]

_SHARD_BYTES = 64 << 20
_TOKENS_OF_AN_IMAGE = 197
_BATCH_TOKENS = 2048


def write_tokens(loaded: Loaded, ctx: RunContext) -> ActivationEntry:
    """Store the activations of every token; rows are tokens, in the order of the samples.

    Columns beside the layers: ``doc_id`` (row of the sample), ``position`` (place of the token), ``token_id`` (-1 for
    images).

    Raises:
        InterpError: A sample does not fit in memory, or the disk is full.
    """
    shard_rows = _rows_per_shard(loaded)
    columns = {"token_id": Column("int64"), "position": Column("int32"), "doc_id": Column("int64")}
    widths = {str(layer): loaded.model.info.widths[layer] for layer in loaded.plan.layers}
    layout = ActivationPlan(widths, columns, source={"samples_per_shard": shard_rows, "tokens": _BATCH_TOKENS})
    entry = ctx.activations.open(loaded.job.token_request, layout, provenance_of(loaded.model))
    shards = shards_of(len(loaded.source), shard_rows)
    present = set(entry.present_shards())
    with BackgroundWriter(pending=1) as writer:  # so that a kill costs one computed shard at most
        for index in own_shards([index for index in range(len(shards)) if index not in present]):
            writer.submit(entry.write_shard, index, *_tokens_of_shard(loaded, shards[index]))
            ctx.events.progress(f"{loaded.job.model.name} tokens", index + 1, len(shards), "shards")
    if len(entry.present_shards()) == len(shards):
        entry.finish(len(shards), {"n_params": loaded.model.info.n_params})
    return entry


def _rows_per_shard(loaded: Loaded) -> int:
    """Samples per shard of about 64 MiB: a function of the data and the model only."""
    vision = loaded.model.info.modality == "vision"
    lengths = loaded.source.lengths(range(len(loaded.source)))
    tokens = _TOKENS_OF_AN_IMAGE if vision else sum(lengths) / len(lengths)
    width = sum(loaded.model.info.widths[layer] for layer in loaded.plan.layers)
    return max(1, int(_SHARD_BYTES / (tokens * width * loaded.plan.dtype.itemsize)))


@dataclass
class _Collected:
    """Tokens of a shard's samples as their batches come in, in any order."""

    loaded: Loaded
    samples: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def add(self, rows: Sequence[int], batch: Batch, kept: dict[Layer, Tensor]) -> None:
        """Take one batch apart into its samples."""
        spatial = self.loaded.model.info.spatial
        tokens = {layer: as_tokens(hidden, spatial=spatial) for layer, hidden in kept.items()}
        lengths = {value.shape[1] for value in tokens.values()}
        if len(lengths) > 1:
            raise UsageError(
                f"the layers of {self.loaded.model.info.name} have {sorted(lengths)} tokens each, which fit in no one table",
                "choose one of them with --layers, or pool",
            )
        longest = lengths.pop()
        for place, row in enumerate(rows):
            mask = torch.ones(longest, dtype=torch.bool) if batch.mask is None else batch.mask[place].cpu()
            ids = batch.inputs["input_ids"][place].cpu()[mask] if "input_ids" in batch.inputs else None
            n_tokens = int(mask.sum())
            sample = {
                "token_id": torch.full((n_tokens,), -1) if ids is None else ids,
                "position": torch.arange(n_tokens, dtype=torch.int32),
                "doc_id": torch.full((n_tokens,), row, dtype=torch.int64),
            }
            for layer, value in tokens.items():
                chosen = value[place].cpu()
                sample[vector_name(layer)] = chosen[mask].to(self.loaded.plan.dtype)
            self.samples[row] = sample


def _tokens_of_shard(loaded: Loaded, rows: range) -> tuple[dict[str, Tensor], dict[str, list[dict[str, int]]]]:
    collected = _Collected(loaded)
    plan = replace(loaded.plan, poolings=("none",), loss=False)
    batches = batches_of(loaded.source.lengths(rows), BatchPlan(_BATCH_TOKENS, 32))
    values = run_shard(loaded.model, loaded.source, rows, batches, plan, Listeners(tokens=collected.add))
    samples = [collected.samples[row] for row in rows]
    tensors = {name: torch.cat([sample[name] for sample in samples]) for name in samples[0]}
    return tensors, {"splits": values.splits} if values.splits else {}
