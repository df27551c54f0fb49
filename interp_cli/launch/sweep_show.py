"""Carry out a sweep from a command line and show its points and results."""

from collections.abc import Sequence
from pathlib import Path

from interp_cli import console
from interp_cli.launch.folder import LaunchFolder
from interp_cli.launch.show import show_plan, show_status, show_submitted, status_json, wait_for_end
from interp_cli.launch.submit import plan
from interp_cli.launch.sweep_report import write_sweep_report
from interp_cli.launch.sweep_results import figures_of, metric_names, results_csv, results_table, rows_of
from interp_cli.launch.sweep_run import SweepRequest, plan_sweep, start_sweep
from interp_registry.errors import UsageError
from interp_registry.figures import Table
from interp_registry.stores.artifact import replace_text

__all__ = ["FORMATS", "carry_out", "show_results"]

FORMATS = ("table", "csv", "md", "html", "json")
_SHOWN_METRICS = 6


def carry_out(request: SweepRequest, *, wait: bool, report: bool) -> int:
    """Start a sweep, or show its points when only that is asked; wait for its end and show the results if ``wait``.

    Returns:
        0, or 3 when points failed.
    """
    options = request.options
    if options.dry_run:
        sweep, launch = plan_sweep(request)
        seen, launcher, notes = plan(launch)
        if launch.deferred:
            notes = (
                *notes,
                f"{sweep.settings.n_points} points per experiment are chosen while it runs ({sweep.settings.method})",
            )
        show_plan(launcher.script(seen, range(max(1, seen.n_tasks))), launch.tasks, notes, as_json=options.json)
        return 0
    submitted = start_sweep(request)
    if not wait:
        show_submitted(submitted, as_json=options.json)
        return 0
    if not options.json:
        show_submitted(submitted, as_json=False)
    return finish(submitted.folder, as_json=options.json, report=report)


def finish(folder: LaunchFolder, *, as_json: bool, report: bool) -> int:
    """Wait for the end of a sweep and show what came out."""
    states = wait_for_end(folder)
    page = write_sweep_report(folder) if report else None
    if as_json:
        rows = rows_of(folder)
        points = [
            {
                "i": r.task.i,
                "experiment": r.task.experiment,
                "params": dict(r.task.params),
                "state": r.state,
                "scalars": dict(r.scalars),
                "run": r.run,
            }
            for r in rows
        ]
        console.print_json({**status_json(folder, states), "points": points, "report": str(page or "")})
    else:
        show_status(folder, states)
        show_results(folder, "table", (), None)
        console.print_paths([page] if page else [])
    return 0 if all(one.state == "done" for one in states) else 3


def show_results(folder: LaunchFolder, form: str, wanted: Sequence[str], target: Path | None) -> None:
    """Print the results of a sweep, or write them to a file.

    Args:
        folder: The sweep.
        form: One of :data:`FORMATS`.
        wanted: Scalars to show; all by default.
        target: File to write; for html the folder of the page.

    Raises:
        UsageError: No such format.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form!r} is none of {', '.join(FORMATS)}")
    if form == "html":
        console.print_paths([write_sweep_report(folder, wanted, target)])
        return
    rows = rows_of(folder)
    metrics = metric_names(rows, wanted)
    if form == "csv":
        text = results_csv(rows, metrics)
    elif form == "md":
        text = _markdown(results_table(rows, metrics))
    elif form == "json":
        console.print_json(
            {
                "table": results_table(rows, metrics).to_json(),
                "figures": [f.to_json() for f in figures_of(rows, metrics)],
            }
        )
        return
    else:
        _print_table(results_table(rows, metrics if wanted else metrics[:_SHOWN_METRICS]), len(metrics))
        return
    if target is None:
        console.out().print(text, markup=False, soft_wrap=True, end="")
    else:
        replace_text(target, text)
        console.print_paths([target])


def _print_table(table: Table, n_metrics: int) -> None:
    console.print_table(table.columns, ([_short(cell) for cell in row] for row in table.rows))
    if n_metrics > _SHOWN_METRICS:
        console.out().print(f"{n_metrics} results in all; choose with --metric, or write --format csv")


def _short(cell: object) -> str:
    return "" if cell is None else f"{cell:.5g}" if isinstance(cell, float) else str(cell)


def _markdown(table: Table) -> str:
    lines = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    return "".join("| " + " | ".join(_short(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)
