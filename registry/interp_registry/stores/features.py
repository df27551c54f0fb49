"""The feature store: pooled representations of one model on one data set, one tensor per layer and pooling.

``<root>/features/<key>/`` is a :class:`~interp_registry.stores.tables.Table` whose number of rows is known beforehand and whose
shards have a fixed number of rows. The key is made from everything that decides the numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_registry.errors import CorruptError, DataError, UnknownNameError, UsageError
from interp_registry.stores.keys import Json, key_of
from interp_registry.stores.table_store import TableStore
from interp_registry.stores.tables import Check, Column, Table, write_manifest

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FeatureEntry", "FeaturePlan", "FeatureRequest", "FeatureStore", "feature_name"]


@dataclass(frozen=True)
class FeatureRequest:
    """What was asked for: equal requests have equal keys, different ones different keys.

    Attributes:
        model: Name of the model, as the user wrote it or as the catalog resolved it.
        dataset: Name of the data set.
        fingerprint: Digest of its samples in their order.
        pools: Poolings, e.g. ``("avg", "last")``.
        layers: The choice of layers: "default", "all", or addresses.
        dtype: Type in which the numbers are stored.
        revision: Revision of the model, when it has one.
        prompt: Template around each text, when there is one.
        options: Everything else that changes the numbers: quantisation, computing type, truncation, seed, ...
    """

    model: str
    dataset: str
    fingerprint: str
    pools: tuple[str, ...] = ("avg",)
    layers: str = "default"
    dtype: str = "float32"
    revision: str | None = None
    prompt: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The request as JSON."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "pools": list(self.pools),
            "layers": self.layers,
            "dtype": self.dtype,
            "revision": self.revision,
            "prompt": self.prompt,
            "options": dict(self.options),
        }

    @property
    def key(self) -> str:
        """Folder name: readable model name and 16 hex digits of the digest of the whole request."""
        return key_of(self.model, self.to_json())


@dataclass(frozen=True)
class FeaturePlan:
    """How the features are laid out; fixed before the first forward pass.

    Attributes:
        n_rows: Number of samples.
        shard_rows: Samples per shard; the last may have fewer.
        widths: Width of each layer by its address, in order of computation.
        columns: Further values per sample, e.g. ``{"loss": Column("float64")}``.
        batch: How shards are cut into batches, e.g. ``{"tokens": 16384}``: a function of shard, budget and data only.
    """

    n_rows: int
    shard_rows: int
    widths: Mapping[str, int]
    columns: Mapping[str, Column] = field(default_factory=dict)
    batch: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.n_rows < 1 or self.shard_rows < 1:
            raise DataError(
                f"features of {self.n_rows} samples in shards of {self.shard_rows}: both must be at least 1"
            )
        if odd := [name for name in self.columns if "/" in name]:
            raise UsageError(f"column {odd[0]!r} has a slash, which is kept for pool/layer")

    def to_json(self, request: FeatureRequest) -> dict[str, Any]:
        """The plan as JSON; ``columns`` has every tensor of a shard with its type and row shape."""
        columns = {name: str(column) for name, column in self.columns.items()}
        for pool in request.pools:
            for layer, width in self.widths.items():
                columns[feature_name(pool, layer)] = str(Column(request.dtype, (width,)))
        return {
            "n_rows": self.n_rows,
            "shard_rows": self.shard_rows,
            "layers": list(self.widths),
            "pools": list(request.pools),
            "columns": columns,
            "batch": dict(self.batch),
        }


def feature_name(pool: str, layer: object) -> str:
    """Name of the tensor of a layer and pooling in a shard: ``avg/12``.

    Args:
        pool: The pooling.
        layer: The layer's address (a Layer, text or number).
    """
    return f"{pool}/{layer}"


class FeatureEntry(Table):
    """The features of one request: written shard by shard, read layer by layer."""

    kind = "features"

    @property
    def n_rows(self) -> int:
        """Number of samples."""
        return self.plan["n_rows"]

    @property
    def n_shards(self) -> int:
        """Number of shards when complete."""
        return -(-self.n_rows // self.plan["shard_rows"])

    @property
    def layers(self) -> tuple[str, ...]:
        """Addresses of the layers, in order of computation."""
        return tuple(self.plan["layers"])

    @property
    def pools(self) -> tuple[str, ...]:
        """The poolings."""
        return tuple(self.plan["pools"])

    @property
    def widths(self) -> dict[str, int]:
        """Width of each layer."""
        return {layer: self.columns[feature_name(self.pools[0], layer)].shape[0] for layer in self.layers}

    def rows(self, index: int) -> range:
        """The rows (places in the data set) of a shard."""
        first = index * self.plan["shard_rows"]
        return range(first, min(first + self.plan["shard_rows"], self.n_rows))

    def missing_shards(self, check: Check = "parts") -> list[int]:
        """Indices of the shards that are not there yet; those that are there are checked first.

        Args:
            check: How closely. The default compares every byte with its fast digest; "structure" reads headers only.

        Raises:
            CorruptError: A shard is there and not what was written; the message names each such file.
        """
        present = set(self.present_shards())
        corrupt = self.problems(check, sorted(present))
        if corrupt:
            more = f" (and {len(corrupt) - 1} more)" if len(corrupt) > 1 else ""
            raise CorruptError(
                f"{corrupt[0].reason}{more}",
                "the same command with --repair computes it again; `interp store verify` lists all",
            )
        return [index for index in range(self.n_shards) if index not in present]

    def write_shard(
        self,
        index: int,
        tensors: Mapping[str, "Tensor"],
        ids: Sequence[str],
        notes: Mapping[str, Json] | None = None,
    ) -> bool:
        """Commit one shard; False when another writer's was there first.

        Args:
            index: Which shard.
            tensors: ``{feature_name(pool, layer): [rows, width]}`` and the further columns, rows in data-set order.
            ids: Name of each sample.
            notes: What to record in the shard's header, e.g. that a batch had to be split.

        Raises:
            UsageError: Names, types, shapes or the number of rows are not the planned ones.
            ResourceError: The disk is full or cannot be written.
        """
        expected = len(self.rows(index))
        lengths = {len(ids), *(len(tensor) for tensor in tensors.values())}
        if lengths != {expected}:
            raise UsageError(f"shard {index} of {self.key} has {expected} rows, given are {sorted(lengths)}")
        return self.commit_shard(index, tensors, {"ids": list(ids), "notes": dict(notes or {})})

    def finish(self, totals: Mapping[str, Json] | None = None) -> None:
        """Declare the features complete.

        Args:
            totals: What holds for all rows, e.g. parameters, loss, bits per byte.

        Raises:
            DataError: A shard is missing.
            CorruptError: A shard is not what was written.
        """
        self.commit_done(self.n_shards, dict(totals or {}))

    @property
    def ids(self) -> list[str]:
        """Names of all samples, in row order."""
        self._require_complete()
        return [name for index in range(self.n_shards) for name in self.shard(index).info["ids"]]

    def read(self, layer: object, pool: str | None = None, verify: bool = True) -> "Tensor":
        """The features of one layer, ``[n_rows, width]``; only that layer's bytes are read.

        Held in one shard they are mapped, not copied; writing to them changes no file.

        Args:
            layer: Its address (a Layer, text or number).
            pool: Which pooling; may be left out when there is one.
            verify: Compare the bytes with their digests.

        Raises:
            UnknownNameError: There is no such layer or pooling.
            DataError: The features are not complete.
            CorruptError: The bytes are not what was written.
        """
        pools = list(self.pools)
        if pool is None and len(pools) > 1:
            raise UsageError(f"{self.key} has several poolings: {', '.join(pools)}", "say which one")
        chosen = pools[0] if pool is None else pool
        if chosen not in pools:
            raise UnknownNameError("pooling", chosen, pools, self.key)
        if str(layer) not in self.layers:
            raise UnknownNameError("layer", str(layer), self.layers, self.key)
        return self.column(feature_name(chosen, layer), verify)

    def column(self, name: str, verify: bool = True) -> "Tensor":
        """All rows of a column, ``[n_rows, ...]``, e.g. "loss"; see :meth:`read`."""
        self._require_complete()
        if name not in self.columns:
            raise UnknownNameError("column", name, self.columns, self.key)
        if self.n_shards == 1:
            return self.shard(0).tensor(name, verify)
        return self._gather(name, verify)

    def _gather(self, name: str, verify: bool) -> "Tensor":
        import torch

        column = self.columns[name]
        gathered = torch.empty((self.n_rows, *column.shape), dtype=getattr(torch, column.dtype))
        for index in range(self.n_shards):
            rows = self.rows(index)
            gathered[rows.start : rows.stop] = self.shard(index).tensor(name, verify)
        return gathered

    def _require_complete(self) -> None:
        if not self.complete:
            present = len(self.present_shards())
            raise DataError(
                f"the features {self.key} are not complete: {present} of {self.n_shards} shards are there",
                "run the same `interp extract` command again: it goes on where it stopped",
            )


class FeatureStore(TableStore[FeatureEntry]):
    """All features below one folder.

    Args:
        root: Root of the store; features lie in its folder ``features``.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root, FeatureEntry)

    def path(self, request: FeatureRequest) -> Path:
        """Folder of a request's features, whether they exist or not."""
        return self.folder / request.key

    def open(
        self,
        request: FeatureRequest,
        plan: FeaturePlan,
        provenance: Mapping[str, Json] | None = None,
        algorithm: str = "sha256",
    ) -> FeatureEntry:
        """Plan the features of a request, or go on with them.

        Args:
            request: What is asked for.
            plan: How it will be laid out; must agree with what is there.
            provenance: Versions, threads, device: recorded by the first writer, not compared.
            algorithm: "sha256", or "xxh3" for big dumps.

        Raises:
            UsageError: They were planned differently.
            CorruptError: The manifest is not what was written.
        """
        path = self.path(request)
        write_manifest(path, FeatureEntry.kind, request.to_json(), plan.to_json(request), provenance, algorithm)
        return FeatureEntry(path)

    def find(self, request: FeatureRequest) -> FeatureEntry | None:
        """The features of a request, complete or not; None when nothing was planned."""
        return self.at(request.key)
