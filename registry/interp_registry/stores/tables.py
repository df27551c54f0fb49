"""A table on disk: rows with typed columns in shards, behind an immutable manifest.

A folder of this form::

    manifest.json             the plan; written first, never changed: the first writer wins, all others must agree
    shard-00000.safetensors   one commit each, in any order, by any process
    DONE.json                 written last: the shards with their digests, and totals

Readers see whole shards only. A writer that finds a shard present skips it, so going on after an interruption and being the
second of two writers are the same thing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from interp_registry.errors import CorruptError, DataError, UsageError
from interp_registry.stores.artifact import commit, make_folder
from interp_registry.stores.hashing import new_digest
from interp_registry.stores.keys import Json, canonical_json, digest_of
from interp_registry.stores.records import commit_record, read_record, require_fields
from interp_registry.stores.shards import DTYPES, Shard, open_shard, write_shard

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DONE", "MANIFEST", "Check", "Column", "Problem", "Table", "write_manifest"]

MANIFEST = "manifest.json"
DONE = "DONE.json"
_FORMAT = 1
_COLUMN = re.compile(r"(?P<dtype>[a-z0-9]+)\[(?P<shape>(\d+(,\d+)*)?)\]")
_SHARD = re.compile(r"shard-(\d{5,})\.safetensors")

Check: TypeAlias = Literal["structure", "parts", "full"]
"""How closely to look at a shard: lengths and header; also each tensor's fast digest; also the digest of all data."""


@dataclass(frozen=True)
class Column:
    """Type of one column.

    Attributes:
        dtype: Name of the numbers' type, e.g. "float32", "bfloat16", "int64".
        shape: Shape of one row's value; () for a single number.
    """

    dtype: str
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f"columns of type {self.dtype!r} cannot be stored", f"stored types: {', '.join(DTYPES)}")

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's value."""
        size = DTYPES[self.dtype][1]
        for extent in self.shape:
            size *= extent
        return size

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @classmethod
    def parse(cls, text: str) -> "Column":
        """Read what ``str`` writes: ``float32[768]``, ``int64[]``.

        Raises:
            UsageError: The text is no such thing.
        """
        match = _COLUMN.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is no column type", "expected is e.g. float32[768] or int64[]")
        return cls(match["dtype"], tuple(int(extent) for extent in match["shape"].split(",") if extent))


@dataclass(frozen=True)
class Problem:
    """Something wrong with a stored file.

    Attributes:
        path: The file.
        reason: What is wrong, one line that names the file.
    """

    path: Path
    reason: str


class Table:
    """A sharded table of any kind: reading, writing and checking, without torch until a tensor is touched.

    Attributes:
        path: Its folder.
        manifest: What was planned.
    """

    kind = "table"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = read_record(path / MANIFEST)
        kind, found = self.manifest.get("kind"), self.manifest.get("format")
        if found != _FORMAT or self.kind not in (kind, Table.kind):
            raise DataError(f"{path} holds {kind} of format {found}, not {self.kind} of format {_FORMAT}")
        require_fields(path / MANIFEST, self.manifest, {"plan": dict, "request": dict, "provenance": dict, "hash": str})
        require_fields(path / MANIFEST, self.manifest["plan"], {"columns": dict, "shard_rows": int})
        self.plan: dict[str, Any] = self.manifest["plan"]
        self.request: dict[str, Any] = self.manifest["request"]
        self.columns = {name: Column.parse(text) for name, text in self.plan["columns"].items()}
        self._identity = digest_of({"request": self.request, "plan": self.plan})
        self._shards: dict[int, Shard] = {}

    @property
    def key(self) -> str:
        """Its key: the name of its folder."""
        return self.path.name

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions and settings of the first writer; they do not decide what the table is."""
        return self.manifest["provenance"]

    @property
    def complete(self) -> bool:
        """Whether ``DONE.json`` was written."""
        return (self.path / DONE).exists()

    @property
    def totals(self) -> dict[str, Any] | None:
        """What was given to ``finish``; None when the table is unfinished or its totals were lost and rebuilt without.

        Raises:
            CorruptError: ``DONE.json`` is not what was written.
        """
        return self._done()["totals"] if self.complete else None

    def _done(self) -> dict[str, Any]:
        """What ``DONE.json`` says."""
        return require_fields(
            self.path / DONE, read_record(self.path / DONE), {"shards": list, "rows": int, "totals": object}
        )

    def shard_path(self, index: int) -> Path:
        """File of a shard."""
        return self.path / f"shard-{index:05d}.safetensors"

    def present_shards(self) -> list[int]:
        """Indices of the shards whose files exist, in order; their content is not looked at."""
        matches = (_SHARD.fullmatch(path.name) for path in self.path.iterdir())
        return sorted(int(match[1]) for match in matches if match is not None)

    def shard(self, index: int) -> Shard:
        """Open a shard and check that it is whole and belongs here; the result is kept.

        Raises:
            CorruptError: The shard is not what was written, or belongs to another table; the message names it.
            DataError: There is no such shard yet.
        """
        if index not in self._shards:
            try:
                shard = open_shard(self.shard_path(index))
            except FileNotFoundError as err:
                raise DataError(
                    f"{self.path} has no shard {index} yet", "run the command that writes it again"
                ) from err
            self._check_owner(index, shard)
            self._shards[index] = shard
        return self._shards[index]

    def _check_owner(self, index: int, shard: Shard) -> None:
        """A shard copied from elsewhere is as wrong as a damaged one."""
        if shard.info.get("table") != self._identity or shard.info.get("index") != index:
            raise CorruptError(f"{shard.path} is corrupt: it belongs to another place or plan")
        rows = shard.info.get("rows")
        expected = {name: (column.dtype, (rows, *column.shape)) for name, column in self.columns.items()}
        found = {name: (part.dtype, part.shape) for name, part in shard.parts.items()}
        if found != expected:
            raise CorruptError(f"{shard.path} is corrupt: it holds {found}, planned is {expected}")

    def commit_shard(self, index: int, tensors: Mapping[str, "Tensor"], info: Mapping[str, Json]) -> bool:
        """Write one shard; False when somebody else's was there first.

        Args:
            index: Its number.
            tensors: One tensor per column, all with the same number of rows.
            info: What to keep in its header.

        Raises:
            UsageError: The tensors do not fit the plan.
            ResourceError: The disk is full or cannot be written.
        """
        rows = self._check_tensors(tensors)
        content = {**info, "table": self._identity, "index": index, "rows": rows}
        algorithm = self.manifest["hash"]
        return commit(self.shard_path(index), lambda file: write_shard(file, tensors, content, algorithm))

    def _check_tensors(self, tensors: Mapping[str, "Tensor"]) -> int:
        """The number of rows, after checking that names, types and shapes are the planned ones."""
        if set(tensors) != set(self.columns):
            odd = sorted(set(tensors) ^ set(self.columns))
            raise UsageError(f"columns {odd} are planned and missing, or given and not planned, in {self.key}")
        rows = {len(tensor) for tensor in tensors.values()}
        if len(rows) != 1:
            raise UsageError(f"the columns of one shard have different numbers of rows: {sorted(rows)}")
        for name, column in self.columns.items():
            found = str(tensors[name].dtype).removeprefix("torch."), tuple(tensors[name].shape[1:])
            if found != (column.dtype, column.shape):
                raise UsageError(f"column {name!r} is planned as {(column.dtype, column.shape)}, given is {found}")
        return rows.pop()

    def check_shard(self, index: int, check: Check) -> None:
        """Look at one shard as closely as asked.

        Raises:
            CorruptError: It is not what was written.
        """
        self._shards.pop(index, None)
        shard = self.shard(index)
        if check == "parts":
            shard.verify_parts()
        elif check == "full":
            shard.verify()

    def problems(self, check: Check = "full", shards: Iterable[int] | None = None) -> list[Problem]:
        """What is wrong with the files of this table; an unfinished table alone is no problem.

        Args:
            check: How closely to look at each shard.
            shards: Which shards; None for those that are present, and ``DONE.json``.
        """
        found: list[Problem] = []
        for index in self.present_shards() if shards is None else shards:
            try:
                self.check_shard(index, check)
            except CorruptError as err:
                found.append(Problem(self.shard_path(index), err.message))
        if shards is None and self.complete:
            found += self._done_problems({problem.path for problem in found})
        return found

    def _done_problems(self, corrupt: set[Path]) -> list[Problem]:
        done = self.path / DONE
        try:
            listed = cast("list[dict[str, Any]]", self._done()["shards"])
        except CorruptError as err:
            return [Problem(done, err.message)]
        found: list[Problem] = []
        for index, entry in enumerate(listed):
            path = self.shard_path(index)
            if not path.exists():
                found.append(Problem(path, f"{path} is missing, though {DONE} lists it"))
            elif path not in corrupt and self._listing(index) != entry:
                found.append(Problem(path, f"{path} is corrupt: it is another file than the one {DONE} lists"))
        return found

    def repair(self, check: Check = "full") -> list[Problem]:
        """Remove what is corrupt, so that the next run of the same command makes it again; return what was wrong.

        When anything is removed ``DONE.json`` goes too: the table is unfinished again.
        """
        found = self.problems(check)
        for problem in found:
            problem.path.unlink(missing_ok=True)
        if found:
            (self.path / DONE).unlink(missing_ok=True)
            self._shards.clear()
        return found

    def rebuild(self) -> bool:
        """Write a lost or corrupt ``DONE.json`` again when every shard is there and whole; its totals stay unknown.

        Returns:
            Whether the table is complete now; False when a shard is missing.

        Raises:
            CorruptError: A shard is not what was written.
        """
        done = self.path / DONE
        if done.exists() and not self._done_problems(set()):
            return True
        n_shards = self.expected_shards()
        if n_shards is None or self.present_shards()[:n_shards] != list(range(n_shards)):
            return False
        for index in range(n_shards):
            self.check_shard(index, "full")
        done.unlink(missing_ok=True)
        self.commit_done(n_shards, None)
        return True

    def expected_shards(self) -> int | None:
        """How many shards the complete table has; None when only its writer knows."""
        rows = self.plan.get("n_rows")
        return None if rows is None else -(-rows // self.plan["shard_rows"])

    def commit_done(self, n_shards: int, totals: Mapping[str, Json] | None) -> None:
        """Write ``DONE.json`` for shards 0 to ``n_shards`` - 1, which must all be there."""
        listed = [self._listing(index) for index in range(n_shards)]
        content = {
            "format": _FORMAT,
            "shards": listed,
            "rows": sum(entry["rows"] for entry in listed),
            "bytes": sum(entry["bytes"] for entry in listed),
            "totals": None if totals is None else dict(totals),
        }
        done = self.path / DONE
        if not commit_record(done, content) and self._done()["shards"] != listed:
            raise CorruptError(f"{done} lists other shards than those in the folder", "`interp store repair` mends it")

    def _listing(self, index: int) -> dict[str, Any]:
        shard = self.shard(index)
        return {
            "file": shard.path.name,
            "rows": shard.info["rows"],
            "bytes": shard.size,
            shard.algorithm: shard.digest,
            "seal": shard.info["seal"],
        }


def write_manifest(
    path: Path,
    kind: str,
    request: Mapping[str, Json],
    plan: Mapping[str, Json],
    provenance: Mapping[str, Json] | None = None,
    algorithm: str = "sha256",
) -> None:
    """Plan a table, or agree with the one that is planned already.

    Args:
        path: Its folder, made if missing.
        kind: "features" or "activations".
        request: What was asked for; decides the key.
        plan: How it is laid out; together with the request it decides every byte.
        provenance: Versions and settings to remember; the first writer's are kept.
        algorithm: Digest of the shards; the first writer's is kept.

    Raises:
        UsageError: The folder holds another plan; the message names what differs.
        CorruptError: Its manifest is not what was written.
    """
    new_digest(algorithm)
    content: dict[str, Any] = {
        "format": _FORMAT,
        "kind": kind,
        "request": dict(request),
        "plan": dict(plan),
        "provenance": dict(provenance or {}),
        "hash": algorithm,
    }
    manifest = make_folder(path) / MANIFEST
    if not manifest.exists() and commit_record(manifest, content):
        return
    found = read_record(manifest)
    for part in ("format", "kind", "request", "plan"):
        if canonical_json(found.get(part)) != canonical_json(content[part]):
            raise UsageError(
                f"{path} was planned with another {part}: {_difference(found.get(part), content[part])}",
                "use the same settings, another --out, or remove that folder",
            )


def _difference(found: Any, asked: Any) -> str:
    """The first field in which two plans differ."""
    if isinstance(found, dict) and isinstance(asked, Mapping):
        theirs, ours = cast("dict[str, Any]", found), cast("Mapping[str, Any]", asked)
        for name in sorted({*theirs, *ours}):
            there, here = theirs.get(name), ours.get(name)
            if canonical_json(there) != canonical_json(here):
                return f"{name} is {there!r} there, {here!r} here"
    return f"{found!r} there, {asked!r} here"
