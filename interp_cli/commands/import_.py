"""``interp import``: bring in features of other tools. Nothing in a file is executed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from interp_cli import console
from interp_registry.errors import UsageError
from interp_registry.stores.home import layout

__all__ = ["app"]

app = typer.Typer(help="Bring in features of other tools.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Bring in features of other tools."""


@app.command("platonic-pt")
def platonic(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders that are searched for *.pt.")],
    kind: Annotated[
        str | None, typer.Option("--kind", help="language or vision; looked up in each file when left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Home folder instead of INTERP_HOME.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Bring in feature files of the Platonic code; exit code 3 when some could not be read."""
    from interp_registry.errors import InterpError
    from interp_registry.stores.exchange import import_platonic
    from interp_registry.stores.features import FeatureStore

    if kind not in {None, "language", "vision"}:
        raise UsageError(f"--kind is {kind!r}", "expected language or vision")
    store = FeatureStore(layout(out).store)
    keys: list[str] = []
    failures: dict[str, str] = {}
    for path in _files(paths):
        try:
            keys.append(import_platonic(path, store, kind).key)
        except InterpError as err:
            failures[str(path)] = str(err)
    if json:
        console.print_json({"keys": keys, "failures": failures})
    else:
        console.print_table(("stored as",), ([key] for key in keys))
    for path, reason in failures.items():
        console.err().print(f"[bold red]failed[/] {console.plain(path)}: {console.plain(reason)}")
    return 3 if failures else 0


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.rglob("*.pt"))
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"no file or folder {path}")
