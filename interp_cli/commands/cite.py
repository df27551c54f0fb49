"""``interp cite``: the papers behind a method."""

from typing import Annotated

import typer

from interp_cli import console
from interp_cli.name_completion import method_names
from interp_registry.discovery import discover
from interp_registry.errors import UnknownNameError

__all__ = ["app"]

app = typer.Typer()


@app.command("cite")
def cite(
    method: Annotated[
        str | None, typer.Argument(help="Name of the method; all when left out.", autocompletion=method_names)
    ] = None,
) -> None:
    """Print the papers behind a method as BibTeX, and how to cite this tool."""
    methods = discover().methods
    if method is not None and method not in methods:
        raise UnknownNameError("method", method, methods)
    chosen = [methods[method]] if method else list(methods.values())
    entries: dict[str, str] = {}
    for entry in (entry for each in chosen for entry in each.cite):
        entries.setdefault(_key(entry), entry.strip())
    console.out().print("\n\n".join([*entries.values(), _own_entry()]), markup=False, soft_wrap=True)


def _key(entry: str) -> str:
    """What a BibTeX entry is cited by; several methods may bring the same paper, and BibTeX refuses a key given twice."""
    return entry.partition("{")[2].partition(",")[0].strip()


def _own_entry() -> str:
    from importlib.metadata import version

    return (
        "@software{interp,\n  title = {interp: one command-line tool to look inside neural networks},\n"
        f"  author = {{{{the interp authors}}}},\n  version = {{{version('interp-cli')}}},\n  year = {{2026}}\n}}"
    )
