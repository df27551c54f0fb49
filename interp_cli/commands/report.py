"""``interp report``: one HTML page about one or several runs, with every figure as a file beside it."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from interp_cli import console
from interp_cli.chosen_runs import chosen_runs
from interp_cli.name_completion import runs_and_launches
from interp_registry.errors import UsageError
from interp_registry.stores.home import layout
from interp_registry.stores.run import Run

__all__ = ["app"]

app = typer.Typer()


@app.command("report")
def report(  # noqa: PLR0913, PLR0917 - each is an option
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs, folders of runs, or launches; the last run or launch when left out.",
            autocompletion=runs_and_launches,
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Folder to write into; below the home when left out.")] = None,
    title: Annotated[str, typer.Option("--title", help="Heading of the page.")] = "",
    files: Annotated[
        bool, typer.Option("--files/--no-files", help="Write every figure and table as files too.")
    ] = True,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Home folder instead of INTERP_HOME.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write one HTML page about any runs: figures, tables, comparison, settings that differ, and where everything came from.

    The page is complete in itself and opens without a network. Figures lie beside it as PNG, SVG and JSON, tables as
    CSV and JSON.
    """
    from interp_cli.report.html import write_report
    from interp_cli.report.model import read_report

    chosen = chosen_runs(runs or ["last"], out)
    if not chosen:
        raise UsageError(f"{', '.join(runs or ['last'])}: no run has begun yet", "`interp watch` shows how it stands")
    folder = to or layout(out).root / "reports" / _name(chosen)
    page = write_report([read_report(run) for run in chosen], folder, title, files)
    if json:
        written = sorted(str(path) for path in page.parent.rglob("*") if path.is_file())
        console.print_json({"page": str(page), "runs": [run.id for run in chosen], "files": written})
    else:
        console.print_paths([page, *([figures] if (figures := page.parent / "figures").is_dir() and files else [])])
    if show:
        typer.launch(page.as_uri())


def _name(runs: list[Run]) -> str:
    """A folder name that is the same for the same runs."""
    if len(runs) == 1:
        return runs[0].path.name
    digest = hashlib.sha256("\n".join(sorted(run.id for run in runs)).encode()).hexdigest()[:8]
    return f"{len(runs)}-runs-{digest}"
