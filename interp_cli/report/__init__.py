"""Reports: what runs found, rendered from their data as one HTML page, as picture files, or in the terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from interp_registry.contracts.method import Result
    from interp_registry.stores.run import Run

__all__ = ["show_result", "write_run_report"]


def write_run_report(run: "Run") -> "Path":
    """Write the page of one run into its folder, as ``report/index.html``; ``interp report`` adds the picture files.

    Returns:
        The page.
    """
    from interp_cli.report.html import render_html
    from interp_cli.report.model import read_report
    from interp_registry.stores.artifact import replace_text

    page = run.artifact("report/index.html")
    replace_text(page, render_html([read_report(run)]))
    return page


def show_result(result: "Result") -> None:
    """Print tables, figures and numbers of a result on stdout."""
    from interp_cli import console
    from interp_cli.report.terminal import print_result

    print_result(console.out(), result)
