"""One HTML page about a sweep: table, parallel coordinates, importances, and the runs it compares."""

from collections.abc import Sequence
from pathlib import Path

from interp_cli.launch.folder import LaunchFolder
from interp_cli.launch.sweep_results import figures_of, metric_names, results_table, rows_of
from interp_registry.contracts.method import Result

__all__ = ["sweep_result", "write_sweep_report"]


def sweep_result(folder: LaunchFolder, wanted: Sequence[str] = ()) -> Result:
    """The results of a sweep as tables and figures."""
    rows = rows_of(folder)
    metrics = metric_names(rows, wanted)
    states = [row.state for row in rows]
    scalars: dict[str, float | int | str | None] = {
        "points": len(rows),
        "done": states.count("done"),
        "failed": states.count("failed"),
    }
    return Result(scalars=scalars, tables=[results_table(rows, metrics)], figures=figures_of(rows, metrics))


def write_sweep_report(folder: LaunchFolder, wanted: Sequence[str] = (), target: Path | None = None) -> Path:
    """Write the page; returns its path.

    Args:
        folder: The sweep.
        wanted: Scalars to show; all by default.
        target: Folder of the page; ``report`` in the launch folder by default.
    """
    from interp_cli.report.html import write_report
    from interp_cli.report.model import RunReport, short_command

    description = folder.describe()
    report = RunReport(
        title=f"sweep {Path(description['sweep']['file']).stem} of {short_command(description['command'])}",
        environment={"launch": folder.id, "versions": description["versions"]},
        result=sweep_result(folder, wanted),
        folder=folder.path,
        config={"sweep": description["sweep"], "launcher": description["launcher"]["name"]},
    )
    return write_report([report], target or folder.path / "report")
