"""Look after everything below a home folder: list, measure, verify, repair, tidy. Needs no torch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp_registry.errors import CorruptError, InterpError, UnknownNameError
from interp_registry.stores.artifact import collect_garbage
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.stores.home import Layout
from interp_registry.stores.records import read_record
from interp_registry.stores.run import Run, RunStore
from interp_registry.stores.tables import DONE, MANIFEST, Check, Problem, Table

__all__ = [
    "Summary",
    "find_tables",
    "folder_bytes",
    "repair",
    "repair_runs",
    "summarize",
    "table_folders",
    "tidy",
    "verify",
    "verify_runs",
]

_KINDS = ("features", "activations")


@dataclass(frozen=True)
class Summary:
    """One table of a store in a line.

    Attributes:
        kind: "features" or "activations".
        key: Its key.
        state: "complete", "unfinished" or "corrupt" (as far as manifest and ``DONE.json`` show).
        shards: How many shards are there.
        rows: Rows when complete or planned, else None.
        size: Bytes on disk.
        request: What was asked for; empty when the manifest is corrupt.
        path: Its folder.
    """

    kind: str
    key: str
    state: str
    shards: int
    rows: int | None
    size: int
    request: dict[str, Any]
    path: Path


def table_folders(store: Path) -> list[Path]:
    """Folders of all tables of a store, those without a readable manifest included.

    An empty folder is no table: whoever made it ended, or had no space left, before its manifest was there.
    """
    kinds = [store / kind for kind in _KINDS]
    return [path for kind in kinds if kind.is_dir() for path in sorted(kind.iterdir()) if _begun(path)]


def _begun(path: Path) -> bool:
    return path.is_dir() and any(not file.name.startswith(".") for file in path.iterdir())


def find_tables(store: Path, keys: Iterable[str]) -> list[Path]:
    """The folders that keys, or unmistakable beginnings of them, name; all folders when none is given.

    Raises:
        UnknownNameError: No key begins like one of them.
    """
    folders = table_folders(store)
    wanted = list(keys)
    found: list[Path] = []
    for key in wanted:
        exact = [path for path in folders if path.name == key]
        matches = exact or [path for path in folders if key and path.name.startswith(key)]
        if not matches:
            raise UnknownNameError("key", key, [path.name for path in folders], str(store))
        found += matches
    return list(dict.fromkeys(found)) if wanted else folders


def folder_bytes(path: Path) -> int:
    """Bytes of all files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.lstat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def summarize(path: Path) -> Summary:
    """What one table is and how far it has come."""
    kind, size = path.parent.name, folder_bytes(path)
    try:
        table = Table(path)
        rows = table.plan.get("n_rows")
        if table.complete:
            rows = _done_rows(table)
    except (InterpError, FileNotFoundError, KeyError):
        return Summary(kind, path.name, "corrupt", len(list(path.glob("shard-*"))), None, size, {}, path)
    state = "complete" if table.complete else "unfinished"
    return Summary(kind, path.name, state, len(table.present_shards()), rows, size, table.request, path)


def _done_rows(table: Table) -> int:
    return read_record(table.path / DONE)["rows"]


def verify(path: Path, check: Check = "full") -> list[Problem]:
    """What is wrong with one table."""
    manifest = path / MANIFEST
    try:
        return Table(path).problems(check)
    except FileNotFoundError:
        return [Problem(manifest, f"{manifest} is missing")]
    except InterpError as err:
        return [Problem(manifest, err.message)]


def repair(path: Path, check: Check = "full") -> list[Problem]:
    """Remove what is corrupt in one table, so that the command that made it makes that again; return what was wrong.

    A corrupt manifest is removed with ``DONE.json``; the shards stay and are used again when the same plan comes back.
    """
    found = verify(path, check)
    if any(problem.path.name == MANIFEST for problem in found):
        (path / MANIFEST).unlink(missing_ok=True)
        (path / DONE).unlink(missing_ok=True)
        return found
    return Table(path).repair(check) if found else []


def verify_runs(runs: Path) -> Iterator[Problem]:
    """What is wrong with sealed runs and their checkpoints."""
    for path in RunStore(runs).folders():
        try:
            found = Run(path).problems()
        except CorruptError as err:
            found = [err.message]
        found += CheckpointStore(path / "checkpoints").problems()
        yield from (Problem(path, message) for message in found)


def repair_runs(runs: Path) -> list[str]:
    """Remove corrupt checkpoints, so that their trainings go on from the ones before; return what was wrong."""
    return [line for run in RunStore(runs).runs() for line in CheckpointStore(run.checkpoints).repair()]


def tidy(layout: Layout, dry_run: bool = False) -> list[Path]:
    """Remove what dead writers left below a home; return the removed paths."""
    roots = (layout.store, layout.runs, layout.cache, layout.launches)
    return [path for root in roots if root.is_dir() for path in collect_garbage(root, dry_run)]
