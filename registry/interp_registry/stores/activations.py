"""The activation store: one row per token, with its vectors at some layers and columns that say where it comes from.

``<root>/activations/<key>/`` is a :class:`~interp_registry.stores.tables.Table` that grows shard by shard. It is written in one
of two ways: an :class:`Appender` cuts a stream of batches into shards of equal size, or several processes write shards whose
content is planned beforehand. It is read at random rows, or in a shuffled order that depends on (seed, epoch) only.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from interp_registry.errors import DataError, UnknownNameError, UsageError
from interp_registry.stores.features import FeatureRequest
from interp_registry.stores.keys import Json, canonical_json
from interp_registry.stores.table_store import TableStore
from interp_registry.stores.tables import Column, Table, write_manifest
from interp_registry.tensors.seeding import generator

__all__ = ["ActivationEntry", "ActivationPlan", "ActivationStore", "Appender", "vector_name"]

_SHARD_BYTES = 128 << 20


def vector_name(layer: object) -> str:
    """Name of the column that holds a layer's vectors: ``layer/12``."""
    return f"layer/{layer}"


@dataclass(frozen=True)
class ActivationPlan:
    """What a row consists of.

    Attributes:
        widths: Width of each layer by its address.
        columns: Further columns, e.g. ``{"token_id": Column("int64")}``.
        shard_bytes: About how large a shard shall be.
        shard_rows: Rows per shard; the default follows from ``shard_bytes``.
        source: How the stream of batches is made, e.g. tokens per batch: a function of settings and data only.
    """

    widths: Mapping[str, int]
    columns: Mapping[str, Column] = field(
        default_factory=lambda: {"token_id": Column("int64"), "position": Column("int32"), "doc_id": Column("int64")}
    )
    shard_bytes: int = _SHARD_BYTES
    shard_rows: int | None = None
    source: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self, dtype: str) -> dict[str, Any]:
        """The plan as JSON, vectors being stored as ``dtype``.

        Raises:
            UsageError: A further column is named like a layer's vectors, or there is no column at all.
        """
        vectors = {vector_name(layer): Column(dtype, (width,)) for layer, width in self.widths.items()}
        if not vectors or set(vectors) & set(self.columns):
            raise UsageError(f"activations need layers and differently named columns, given are {sorted(self.columns)}")
        columns = {**self.columns, **vectors}
        row_bytes = sum(column.row_bytes for column in columns.values())
        rows = self.shard_rows or max(1, self.shard_bytes // max(1, row_bytes))
        return {
            "layers": list(self.widths),
            "columns": {name: str(column) for name, column in columns.items()},
            "shard_rows": rows,
            "source": dict(self.source),
        }


class ActivationEntry(Table):
    """The activations of one request."""

    kind = "activations"

    @property
    def layers(self) -> tuple[str, ...]:
        """Addresses of the layers."""
        return tuple(self.plan["layers"])

    @cached_property
    def offsets(self) -> Int64[Tensor, "shards_plus_1"]:
        """Number of the first row of each shard, and the number of rows.

        Raises:
            DataError: The activations are not complete.
        """
        if not self.complete:
            raise DataError(
                f"the activations {self.key} are not complete", "run the command that writes them again: it goes on"
            )
        rows = [self.shard(index).info["rows"] for index in self.present_shards()]
        return torch.tensor([0, *rows], dtype=torch.int64).cumsum(0)

    @property
    def n_rows(self) -> int:
        """Number of rows (tokens)."""
        return int(self.offsets[-1])

    def write_shard(self, index: int, tensors: Mapping[str, Tensor], notes: Mapping[str, Json] | None = None) -> bool:
        """Commit one planned shard; False when another writer's was there first.

        Args:
            index: Which shard.
            tensors: All columns, any number of rows.
            notes: What to record in the shard's header.
        """
        return self.commit_shard(index, tensors, {"notes": dict(notes or {})})

    def finish(self, n_shards: int, totals: Mapping[str, Json] | None = None) -> None:
        """Declare the activations complete.

        Raises:
            DataError: A shard is missing.
        """
        self.commit_done(n_shards, dict(totals or {}))
        self.__dict__.pop("offsets", None)

    @cached_property
    def _mapped(self) -> dict[tuple[int, str], Tensor]:
        return {}

    def _column_of(self, index: int, name: str) -> Tensor:
        """A column of a shard, mapped and verified when it is first touched."""
        if (index, name) not in self._mapped:
            self._mapped[index, name] = self.shard(index).tensor(name)
        return self._mapped[index, name]

    def read(self, rows: Int64[Tensor, "n"], columns: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Some rows, in the order asked for.

        Args:
            rows: Row numbers, in any order; repetitions are allowed.
            columns: Which columns; all by default.

        Raises:
            UnknownNameError: There is no such column.
            DataError: A row does not exist.
            CorruptError: A shard is not what was written.
        """
        names = tuple(self.columns) if columns is None else tuple(columns)
        for name in names:
            if name not in self.columns:
                raise UnknownNameError("column", name, self.columns, self.key)
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self.n_rows:
            raise DataError(f"rows {int(rows.min())} to {int(rows.max())} are asked for, there are {self.n_rows}")
        shards = torch.searchsorted(self.offsets, rows, right=True) - 1
        found = {name: self._empty(name, len(rows)) for name in names}
        for index in shards.unique().tolist():
            here = (shards == index).nonzero()[:, 0]
            inside = rows[here] - self.offsets[index]
            for name in names:
                found[name][here] = self._column_of(index, name)[inside]
        return found

    def column(self, name: str) -> Tensor:
        """A whole column, e.g. "token_id"."""
        if name not in self.columns:
            raise UnknownNameError("column", name, self.columns, self.key)
        whole = self._empty(name, self.n_rows)
        for index, first in enumerate(self.offsets[:-1].tolist()):
            part = self._column_of(index, name)
            whole[first : first + len(part)] = part
        return whole

    def _empty(self, name: str, rows: int) -> Tensor:
        column = self.columns[name]
        return torch.empty((rows, *column.shape), dtype=getattr(torch, column.dtype))

    def order(
        self, seed: int, epoch: int, rows: Int64[Tensor, "n"] | None = None, window: int | None = None
    ) -> Int64[Tensor, "n"]:
        """Row numbers in a shuffled order that depends on (seed, epoch) and the arguments only.

        Args:
            seed: Seed of the run.
            epoch: Which pass over the data.
            rows: The rows to shuffle, e.g. those of a training split; all by default.
            window: Shuffle the shards, then the rows of this many shards at a time: less random, and reads from few files
                at once. Not with ``rows``.
        """
        source = generator(seed, "activation order", epoch)
        if window is None:
            chosen = torch.arange(self.n_rows) if rows is None else rows
            return chosen[torch.randperm(len(chosen), generator=source)]
        if rows is not None:
            raise UsageError("a window shuffles whole shards; it cannot be combined with a choice of rows")
        shards = torch.randperm(len(self.offsets) - 1, generator=source).tolist()
        parts: list[Tensor] = []
        for first in range(0, len(shards), window):
            group = shards[first : first + window]
            inside = torch.cat([torch.arange(int(self.offsets[i]), int(self.offsets[i + 1])) for i in group])
            parts.append(inside[torch.randperm(len(inside), generator=source)])
        return torch.cat(parts)

    def batches(
        self, size: int, order: Int64[Tensor, "n"], columns: Sequence[str] | None = None, start: int = 0
    ) -> Iterator[dict[str, Tensor]]:
        """Batches of ``size`` rows in an order, from batch ``start`` on; a smaller rest is left out."""
        for batch in range(start, len(order) // size):
            yield self.read(order[batch * size : (batch + 1) * size], columns)


class Appender:
    """Cuts a stream of batches into shards of equal size, and goes on after an interruption.

    The stream must be the same every time. Before the first :meth:`append`, look at :attr:`cursor`: when it is not None, begin the
    stream at the batch of that cursor; its rows that are stored already are passed over.

    Args:
        entry: The activations to write.
    """

    def __init__(self, entry: ActivationEntry) -> None:
        self._entry = entry
        self._size: int = entry.plan["shard_rows"]
        self._pending: list[tuple[Json, int, dict[str, Tensor]]] = []
        self._next = 0
        self.cursor: Json = None
        self._skip = 0
        self._move()

    @property
    def n_rows(self) -> int:
        """Rows that are stored or waiting to be."""
        stored = sum(self._entry.shard(index).info["rows"] for index in range(self._next))
        return stored + sum(len(next(iter(rows.values()))) for _, _, rows in self._pending)

    def _move(self) -> bool:
        """Go to the first shard that is missing; True when that is not the one that would have come next."""
        before = self._next
        present = set(self._entry.present_shards())
        while self._next in present:
            self._next += 1
        if self._next == before:
            return False
        info = self._entry.shard(self._next - 1).info
        self.cursor, self._skip = info["cursor"], info["taken"]
        self._pending.clear()
        return True

    def append(self, cursor: Json, tensors: Mapping[str, Tensor]) -> Json:
        """Take in the next batch of the stream.

        Args:
            cursor: What names this batch, e.g. its number; any JSON value but None.
            tensors: All columns of its rows.

        Returns:
            None, or the cursor at which the stream has to begin anew, because shards that come next are there already.

        Raises:
            UsageError: The stream goes on at another batch than the stored part asks for.
            ResourceError: The disk is full or cannot be written.
        """
        rows, first = {name: tensor.detach().cpu() for name, tensor in tensors.items()}, 0
        if self._skip:
            if canonical_json(cursor) != canonical_json(self.cursor):
                raise UsageError(
                    f"the stored activations end in batch {self.cursor!r}, the stream begins at {cursor!r}"
                )
            first, self._skip = self._skip, 0
            rows = {name: tensor[first:] for name, tensor in rows.items()}
        self._pending.append((cursor, first, rows))
        while self._waiting() >= self._size:
            self._write(self._size)
            if self._move():
                return self.cursor
        return None

    def finish(self, totals: Mapping[str, Json] | None = None) -> None:
        """Write what is left and declare the activations complete."""
        if self._waiting():
            self._write(self._waiting())
        self._entry.finish(self._next, totals)

    def _waiting(self) -> int:
        return sum(len(next(iter(rows.values()))) for _, _, rows in self._pending)

    def _write(self, n_rows: int) -> None:
        """Commit the first ``n_rows`` waiting rows as the next shard; the others go on waiting."""
        taken: list[dict[str, Tensor]] = []
        left, cursor, end = n_rows, None, 0
        while left:
            cursor, first, rows = self._pending.pop(0)
            count = min(left, len(next(iter(rows.values()))))
            taken.append({name: tensor[:count] for name, tensor in rows.items()})
            left, end = left - count, first + count
            rest = {name: tensor[count:] for name, tensor in rows.items()}
            if len(next(iter(rest.values()))):
                self._pending.insert(0, (cursor, end, rest))
        tensors = {name: torch.cat([part[name] for part in taken]) for name in taken[0]}
        self._entry.commit_shard(self._next, tensors, {"notes": {}, "cursor": cursor, "taken": end})
        self._next += 1


class ActivationStore(TableStore[ActivationEntry]):
    """All activations below one folder.

    Args:
        root: Root of the store; activations lie in its folder ``activations``.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root, ActivationEntry)

    def open(
        self,
        request: FeatureRequest,
        plan: ActivationPlan,
        provenance: Mapping[str, Json] | None = None,
        algorithm: str = "sha256",
    ) -> ActivationEntry:
        """Plan the activations of a request (its pooling is "none"), or go on with them.

        Args:
            request: What is asked for; its ``dtype`` is that of the vectors.
            plan: What a row consists of; must agree with what is there.
            provenance: Versions, threads, device: recorded by the first writer, not compared.
            algorithm: "sha256", or "xxh3" for big dumps.

        Raises:
            UsageError: They were planned differently.
        """
        path = self.folder / request.key
        content = plan.to_json(request.dtype)
        write_manifest(path, ActivationEntry.kind, request.to_json(), content, provenance, algorithm)
        return ActivationEntry(path)

    def find(self, request: FeatureRequest) -> ActivationEntry | None:
        """The activations of a request, complete or not; None when nothing was planned."""
        return self.at(request.key)
