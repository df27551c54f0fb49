"""``interp store``: what is stored, how large it is, whether it is whole, and how to mend it."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from interp_cli import console
from interp_cli.table_differences import differences
from interp_registry.errors import CorruptError, UsageError
from interp_registry.stores import maintenance
from interp_registry.stores.home import layout
from interp_registry.stores.tables import Check, Problem, Table

__all__ = ["app"]

app = typer.Typer(help="Look after stored features: sizes, checks, repair.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option("--out", help="Home folder instead of INTERP_HOME.")]
Keys = Annotated[list[str] | None, typer.Argument(help="Keys or their beginnings; all when left out.")]
Fast = Annotated[bool, typer.Option("--fast", help="Compare with the fast digests, not with the sha256 as well.")]


@app.command("ls")
def list_tables(keys: Keys = None, json: Json = False, out: Out = None) -> None:
    """List features and activations with size, state where they are not complete, and what tells those of one model apart."""
    found = [maintenance.summarize(path) for path in maintenance.find_tables(layout(out).store, keys or ())]
    if json:
        console.print_json({"tables": [{**vars(summary), "path": str(summary.path)} for summary in found]})
        return
    columns = ("kind", "key", "state", "data set", "rows", "size", "differs in")
    states = ["" if s.state == "complete" else s.state for s in found]
    rows = [
        (s.kind, s.key, state, s.request.get("dataset"), s.rows, console.size(s.size), apart)
        for s, state, apart in zip(found, states, differences(found), strict=True)
    ]
    console.print_table(columns, rows)


@app.command("du")
def show_sizes(json: Json = False, out: Out = None) -> None:
    """Show how much disk each part of the home takes, and how much is free."""
    home = layout(out)
    folders = [home.store / "features", home.store / "activations", home.runs, home.launches, home.cache]
    sizes = {str(path.relative_to(home.root)): maintenance.folder_bytes(path) for path in folders}
    existing = next(path for path in (home.root, *home.root.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if json:
        console.print_json({"home": str(home.root), "bytes": sizes, "free": free})
        return
    rows = [*sizes.items(), ("all", sum(sizes.values())), ("free", free)]
    console.print_table(("in " + str(home.root), "size"), ((name, console.size(size)) for name, size in rows))


@app.command("verify")
def verify_tables(
    keys: Keys = None,
    fast: Fast = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Write lost DONE.json files again.")] = False,
    json: Json = False,
    out: Out = None,
) -> None:
    """Compare every stored file with its digest; exit code 3 when one is corrupt.

    Without keys, runs and their checkpoints are compared as well.
    """
    home = layout(out)
    folders = maintenance.find_tables(home.store, keys or ())
    found = [problem for path in _with_progress(folders) for problem in maintenance.verify(path, _check(fast))]
    rebuilt = [path for path in folders if rebuild and _rebuilt(path)]
    if not keys:
        found += maintenance.verify_runs(home.runs)
    if json:
        console.print_json(
            {"checked": len(folders), "problems": _as_json(found), "rebuilt": [str(path) for path in rebuilt]}
        )
        raise typer.Exit(3 if found else 0)
    console.print_paths(path / "DONE.json" for path in rebuilt)
    _refuse(found, "`interp store repair` removes what is corrupt, then the same command makes it again")
    console.out().print(f"{len(folders)} tables, all as they were written")


def _rebuilt(path: Path) -> bool:
    """Write a lost ``DONE.json`` again where all shards are there and whole; True when it was lost."""
    try:
        table = Table(path)
        return not table.complete and table.rebuild()
    except (CorruptError, FileNotFoundError):
        return False


@app.command("repair")
def repair_tables(keys: Keys = None, fast: Fast = False, json: Json = False, out: Out = None) -> None:
    """Remove corrupt files, so that the command that made them makes just those again."""
    home = layout(out)
    folders = maintenance.find_tables(home.store, keys or ())
    found = [problem for path in _with_progress(folders) for problem in maintenance.repair(path, _check(fast))]
    lines = [problem.reason for problem in found]
    if not keys:
        lines += maintenance.repair_runs(home.runs)
    if json:
        console.print_json({"checked": len(folders), "removed": lines})
        return
    for line in lines:
        console.out().print(f"removed: {line}", markup=False)
    console.out().print(f"{len(lines)} corrupt files removed" if lines else "nothing is corrupt")


@app.command("gc")
def collect_garbage(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
    json: Json = False,
    out: Out = None,
) -> None:
    """Remove temporary files of processes that are gone."""
    found = maintenance.tidy(layout(out), dry_run)
    if json:
        console.print_json({"removed": [] if dry_run else [str(p) for p in found], "found": [str(p) for p in found]})
        return
    for path in found:
        console.out().print(f"{'would remove' if dry_run else 'removed'} {path}", markup=False)
    if not found:
        console.out().print("nothing to remove")


@app.command("rm")
def remove_tables(
    keys: Annotated[list[str], typer.Argument(help="Keys or their beginnings.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    out: Out = None,
) -> None:
    """Delete features or activations; of a link to a folder elsewhere, the link alone."""
    folders = maintenance.find_tables(layout(out).store, keys)
    total = console.size(sum(maintenance.folder_bytes(path) for path in folders))
    names = ", ".join(path.name for path in folders)
    if not yes and not typer.confirm(f"delete {names} ({total})?"):
        raise UsageError("nothing was deleted")
    for path in folders:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path)
    console.out().print(f"deleted {names} ({total})", markup=False)


def _check(fast: bool) -> Check:
    return "parts" if fast else "full"


def _with_progress(folders: Iterable[Path]) -> Iterator[Path]:
    """The folders, with a bar on a terminal."""
    from rich.progress import track

    todo = list(folders)
    return iter(track(todo, "checking", console=console.err(), transient=True, disable=not console.err().is_terminal))


def _as_json(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [{"path": str(problem.path), "reason": problem.reason} for problem in problems]


def _refuse(problems: list[Problem], hint: str) -> None:
    """End with exit code 3 when something is wrong, naming every file."""
    for problem in problems[1:]:
        console.err().print(problem.reason, markup=False)
    if problems:
        more = f" (and {len(problems) - 1} more, above)" if len(problems) > 1 else ""
        raise CorruptError(problems[0].reason + more, hint)
