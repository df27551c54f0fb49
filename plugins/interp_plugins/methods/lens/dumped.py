"""Dumped activations as lenses read them: rows, texts, a split by document, statistics.

Axes: n rows, s tokens of a text, d width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from interp_registry.errors import DataError, UnknownNameError, UsageError
from interp_registry.stores.activations import ActivationEntry, ActivationPlan, ActivationStore, vector_name
from interp_registry.stores.keys import digest_of
from interp_registry.stores.tables import Column
from interp_registry.tensors.layers import Layer
from interp_registry.tensors.seeding import derive_seed

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

__all__ = ["Dump", "DumpOutline", "Rows", "Source", "Statistics", "dump_plan"]

VALIDATION = 0.1
_CHUNK = 16384
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Rows:
    """Some rows of a dump at one layer."""

    activations: "Float[Tensor, 'n d']"
    """float32, whatever the dump is stored as."""
    token_ids: "Int[Tensor, 'n s']"
    """Tokens of the text that each row is from, padded on the right."""
    lengths: "Int[Tensor, 'n']"
    """Real tokens of each text."""
    positions: "Int[Tensor, 'n']"
    """Which token of its text each row is."""
    documents: "Int[Tensor, 'n']"
    """Number of the text in the data set."""

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class Statistics:
    """Moments of a layer's activations over the training rows of a dump."""

    mean: "Float[Tensor, 'd']"
    """Mean of the activations."""
    std: "Float[Tensor, 'd']"
    """Standard deviation of each coordinate."""
    mean_norm: float
    """Mean Euclidean norm."""
    max_abs: float
    """Largest coordinate in absolute value: decides whether float16 can hold it."""
    variance: float
    """Mean over rows of |a - mean|^2: the denominator of FVE."""
    normalised_variance: float
    """The same of the rows scaled to unit norm, after the definition of natural-language autoencoders (``fve_nrm``)."""

    def spread(self, layer: int, *, normalised: bool = False) -> float:
        """Variance of the rows, or of the rows at unit norm: what a bottleneck at ``layer`` is trained to explain.

        Raises:
            DataError: All rows are the same up to rounding, so that there is nothing to explain.
        """
        value, scale = (self.normalised_variance, 1.0) if normalised else (self.variance, self.mean_norm**2)
        if value <= _ROUNDING * scale:
            raise DataError(
                f"the activations at layer {layer} are the same in all training rows",
                "there is nothing to tell apart: choose another layer, other positions, or other texts",
            )
        return value


class Source(Protocol):
    """What a lens may ask of the activations that it is built for: a :class:`Dump`, or the outline of one."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that are there."""
        ...

    @property
    def width(self) -> int:
        """Width of the activations."""
        ...

    def statistics(self, layer: int) -> Statistics:
        """Moments of a layer."""
        ...


@dataclass(frozen=True)
class DumpOutline:
    """What is left of a dump when only a trained lens is at hand."""

    layers: tuple[int, ...]
    """Layers that were dumped."""
    width: int
    """Width of the activations."""
    moments: Mapping[int, Statistics] = field(default_factory=dict)
    """Statistics by layer."""

    def statistics(self, layer: int) -> Statistics:
        """Moments of a layer.

        Raises:
            UnknownNameError: They were not kept.
        """
        if layer not in self.moments:
            raise UnknownNameError("layer", str(layer), [str(one) for one in self.moments])
        return self.moments[layer]


def dump_plan(
    widths: Mapping[Layer, int], seq_len: int, source: Mapping[str, Any], shard_rows: int | None = None
) -> ActivationPlan:
    """What a row of a dump consists of: the vectors, and the whole text with the place of the row in it.

    Args:
        widths: Width of each layer by its address (`Layer(L, pre_norm=True)` for the last).
        seq_len: Tokens of the longest text.
        source: How the rows are made: a function of settings and data.
        shard_rows: Rows per shard, for an appender.
    """
    columns = {
        "token_ids": Column("int32", (seq_len,)),
        "length": Column("int32"),
        "position": Column("int32"),
        "doc_id": Column("int64"),
    }
    named = {str(layer): width for layer, width in widths.items()}
    return ActivationPlan(named, columns, shard_rows=shard_rows, source=source)


class Dump:
    """Stored activations of a language model at chosen layers and tokens.

    A tenth of the documents is kept for validation, chosen by a hash of their numbers: the same for every seed and method.

    Args:
        entry: Where they are stored; must be complete.

    Raises:
        DataError: They are not complete, have no rows, or are not those of ``interp lens dump``.
    """

    def __init__(self, entry: ActivationEntry) -> None:
        missing = {"token_ids", "length", "position", "doc_id"} - set(entry.columns)
        if missing:
            raise DataError(
                f"the activations {entry.key} have no {', '.join(sorted(missing))}", "make them with `interp lens dump`"
            )
        if entry.n_rows == 0:
            raise DataError(f"the activations {entry.key} have no rows")
        self.entry = entry
        self._statistics: dict[int, Statistics] = {}
        self._orders: dict[tuple[int, int, int], Tensor] = {}

    @classmethod
    def open(cls, store: ActivationStore, key: str) -> "Dump":
        """The activations of a key, or of an unmistakable beginning of it."""
        return cls(store.get(key))

    @cached_property
    def _addresses(self) -> dict[int, str]:
        return {Layer.parse(address).index: address for address in self.entry.layers}

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that were dumped, by the index of ``hidden_states``; L is before the final norm."""
        return tuple(self._addresses)

    @property
    def width(self) -> int:
        """Width of the activations."""
        return self.entry.columns[vector_name(self.entry.layers[0])].shape[0]

    @property
    def seq_len(self) -> int:
        """Places for the tokens of a text."""
        return self.entry.columns["token_ids"].shape[0]

    @property
    def model_name(self) -> str:
        """Name of the model whose activations they are."""
        return str(self.entry.request["model"])

    @property
    def revision(self) -> str | None:
        """Revision of that model."""
        return self.entry.request["revision"]

    @property
    def digest(self) -> str:
        """Digest of request and plan: changes when anything that decides the rows does."""
        return digest_of({"request": self.entry.request, "plan": self.entry.plan})

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.entry.n_rows

    @cached_property
    def _in_validation(self) -> "Tensor":
        import torch

        numbers, inverse = self.entry.column("doc_id").unique(return_inverse=True)
        shares = [derive_seed(0, "lens validation", document) / 2**63 for document in numbers.tolist()]
        return (torch.tensor(shares, dtype=torch.float64) < VALIDATION)[inverse]

    @cached_property
    def training_rows(self) -> "Int[Tensor, 'n']":
        """Numbers of the rows to learn from.

        Raises:
            DataError: Every document fell to validation.
        """
        rows = (~self._in_validation).nonzero()[:, 0]
        if not len(rows):
            raise DataError(f"the activations {self.entry.key} leave no document to train on", "dump more texts")
        return rows

    @cached_property
    def validation_rows(self) -> "Int[Tensor, 'n']":
        """Numbers of the rows to judge by; no document has rows here and among the training rows."""
        return self._in_validation.nonzero()[:, 0]

    def _column(self, layer: int) -> str:
        if layer not in self._addresses:
            known = ", ".join(map(str, self.layers))
            raise UsageError(f"layer {layer} was not dumped", f"dumped are {known}")
        return vector_name(self._addresses[layer])

    def activations(self, indices: "Int[Tensor, 'n']", layer: int) -> "Float[Tensor, 'n d']":
        """The vectors alone of some rows at one layer, in float32 and in the order asked for.

        Raises:
            UsageError: The layer was not dumped.
            DataError: A row does not exist, or is not finite.
        """
        vectors = self._column(layer)
        return self._finite(self.entry.read(indices, (vectors,))[vectors].float(), layer)

    def rows(self, indices: "Int[Tensor, 'n']", layer: int) -> Rows:
        """Some rows at one layer with their texts, in the order asked for.

        Raises:
            UsageError: The layer was not dumped.
            DataError: A row does not exist, or is not finite.
        """
        vectors = self._column(layer)
        found = self.entry.read(indices, ("token_ids", "length", "position", "doc_id", vectors))
        return Rows(
            self._finite(found[vectors].float(), layer),
            found["token_ids"].long(),
            found["length"].long(),
            found["position"].long(),
            found["doc_id"],
        )

    def _finite(self, activations: "Float[Tensor, 'n d']", layer: int) -> "Float[Tensor, 'n d']":
        if not activations.isfinite().all():
            raise DataError(
                f"the activations {self.entry.key} are not finite at layer {layer}",
                "look for an overflow in the model, and dump them anew",
            )
        return activations

    def batch(self, step: int, size: int, seed: int) -> "Int[Tensor, 'n']":
        """Numbers of the training rows of batch ``step``: a function of (seed, step) and the sizes only.

        Every row comes once in a pass over the data; what does not fill a batch is left out of the pass.

        Raises:
            DataError: There are fewer training rows than a batch has.
        """
        n_batches = len(self.training_rows) // size
        if n_batches == 0:
            raise DataError(
                f"{len(self.training_rows)} training rows do not fill a batch of {size}",
                f"give --method.batch-size {len(self.training_rows)} or less, or dump more texts",
            )
        epoch, place = divmod(step, n_batches)
        if (seed, epoch, size) not in self._orders:
            self._orders = {(seed, epoch, size): self.entry.order(seed, epoch, self.training_rows)}
        return self._orders[seed, epoch, size][place * size : (place + 1) * size]

    def statistics(self, layer: int) -> Statistics:
        """Moments of a layer over the training rows; computed once, in float64."""
        if layer not in self._statistics:
            self._statistics[layer] = _moments(self, layer)
        return self._statistics[layer]

    def share_statistics(self, rank: int, world: int, total: "Callable[[Tensor], Tensor]") -> None:
        """Compute the statistics of all layers once for several processes: each computes those of its share of the layers.

        Args:
            rank: Number of this process.
            world: How many there are; all have to call this.
            total: The sum of a tensor over the processes.
        """
        import torch

        packed = torch.zeros(len(self.layers), 2 * self.width + 4, dtype=torch.float64)
        for place, layer in enumerate(self.layers):
            if place % world == rank:
                packed[place] = _packed(self.statistics(layer))
        for layer, row in zip(self.layers, total(packed), strict=True):
            self._statistics[layer] = _unpacked(row, self.width)

    def outline(self) -> DumpOutline:
        """Layers, width and statistics: what a lens file keeps of it."""
        return DumpOutline(self.layers, self.width, {layer: self.statistics(layer) for layer in self.layers})


def _moments(dump: Dump, layer: int) -> Statistics:
    import torch

    total, unit, squares = (torch.zeros(dump.width, dtype=torch.float64) for _ in range(3))
    norms, largest, n_rows = 0.0, 0.0, len(dump.training_rows)
    for part in dump.training_rows.split(_CHUNK):
        values = dump.activations(part, layer).double()
        lengths = values.norm(dim=1, keepdim=True)
        total += values.sum(0)
        squares += values.square().sum(0)
        unit += (values / lengths.clamp_min(torch.finfo(torch.float64).tiny)).sum(0)
        norms += float(lengths.sum())
        largest = max(largest, float(values.abs().max()))
    mean = total / n_rows
    spread = (squares / n_rows - mean.square()).clamp_min(0)
    return Statistics(
        mean=mean.float(),
        std=spread.sqrt().float(),
        mean_norm=norms / n_rows,
        max_abs=largest,
        variance=float(spread.sum()),
        normalised_variance=float(1 - (unit / n_rows).square().sum()),
    )


def _packed(found: Statistics) -> "Float[Tensor, 'k']":
    import torch

    numbers = [found.mean_norm, found.max_abs, found.variance, found.normalised_variance]
    return torch.cat([found.mean.double(), found.std.double(), torch.tensor(numbers, dtype=torch.float64)])


def _unpacked(row: "Float[Tensor, 'k']", width: int) -> Statistics:
    mean, std, numbers = row[:width].float(), row[width : 2 * width].float(), row[2 * width :].tolist()
    return Statistics(mean, std, *numbers)
