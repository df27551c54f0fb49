"""Token activations: every token of every sample at the chosen layers, taken out of its batch for the activation store.

Columns beside the layers: ``doc_id`` (row of the sample), ``position`` (place of the token), ``token_id`` (-1 for images). Rows are
tokens, in the order of the samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from interp_registry.contracts.model import Batch, Model
from interp_registry.errors import DataError, UsageError
from interp_registry.stores.activations import ActivationPlan, vector_name
from interp_registry.stores.keys import Json
from interp_registry.stores.tables import Column
from interp_registry.tensors.layers import Layer
from interp_registry.tensors.pooling import as_tokens

__all__ = ["TokenCollector", "expected_tokens", "samples_per_shard", "token_plan"]

_SHARD_BYTES = 64 << 20
_TOKENS_OF_AN_IMAGE = 197


def token_plan(model: Model, layers: Sequence[Layer], source: dict[str, Json]) -> ActivationPlan:
    """How the token activations of some layers are laid out; ``source`` says how samples are cut into shards and batches."""
    columns = {"token_id": Column("int64"), "position": Column("int32"), "doc_id": Column("int64")}
    return ActivationPlan({str(layer): model.info.widths[layer] for layer in layers}, columns, source=source)


def expected_tokens(model: Model, lengths: Sequence[int]) -> int:
    """Tokens of all samples; for images a guess."""
    return _TOKENS_OF_AN_IMAGE * len(lengths) if model.info.modality == "vision" else sum(lengths)


def samples_per_shard(model: Model, layers: Sequence[Layer], lengths: Sequence[int], dtype: torch.dtype) -> int:
    """Samples whose tokens fill about 64 MiB: a function of the data and the model only."""
    tokens = expected_tokens(model, lengths) / len(lengths)
    width = sum(model.info.widths[layer] for layer in layers)
    return max(1, int(_SHARD_BYTES / (tokens * width * dtype.itemsize)))


@dataclass
class TokenCollector:
    """Tokens of a group of samples as their batches come in, in any order."""

    model: Model
    dtype: torch.dtype
    samples: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def add(self, rows: Sequence[int], batch: Batch, kept: dict[Layer, Tensor]) -> None:
        """Take one batch apart into its samples.

        Raises:
            UsageError: The layers have different numbers of tokens.
            DataError: A token's activation is not finite in the type in which it is kept.
        """
        spatial = self.model.info.spatial
        tokens = {layer: as_tokens(hidden, spatial=spatial) for layer, hidden in kept.items()}
        lengths = {value.shape[1] for value in tokens.values()}
        if len(lengths) > 1:
            raise UsageError(
                f"the layers of {self.model.info.name} have {sorted(lengths)} tokens each, which fit in no one table",
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
                sample[vector_name(layer)] = self._finite(value[place].cpu()[mask].to(self.dtype), layer, row)
            self.samples[row] = sample

    def _finite(self, vectors: Tensor, layer: Layer, row: int) -> Tensor:
        if not vectors.isfinite().all():
            raise DataError(
                f"tokens of sample {row} at layer {layer} of {self.model.info.name} are not finite",
                "its weights are broken, or it overflows its type: try --model.dtype=fp32 and --store-dtype float32",
            )
        return vectors

    def take(self, rows: range) -> dict[str, Tensor]:
        """All columns of these samples, in their order; they are forgotten."""
        samples = [self.samples.pop(row) for row in rows]
        return {name: torch.cat([sample[name] for sample in samples]) for name in samples[0]}
