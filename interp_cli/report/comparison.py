"""What differs between runs: numbers side by side, and the settings in which they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from interp_cli.report.model import RunReport, flatten
from interp_registry.events import Scalar
from interp_registry.figures import Figure, Lines, Series, Table

__all__ = ["config_differences", "overlaid_curves", "run_names", "scalar_table"]


def run_names(runs: Sequence[RunReport]) -> list[str]:
    """A distinct name for each run: its title, with the run's folder or a number where titles are equal."""
    titles = [run.title for run in runs]
    names = [
        f"{run.title} {run.folder.name}" if titles.count(run.title) > 1 and run.folder else run.title for run in runs
    ]
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def scalar_table(runs: Sequence[RunReport]) -> Table:
    """One row for each run and one column for each named number of any of them."""
    names = list(dict.fromkeys(name for run in runs for name in run.result.scalars))
    rows = [
        (
            name,
            run.state or None,
            round(run.seconds, 1) if run.seconds else None,
            *(run.result.scalars.get(key) for key in names),
        )
        for name, run in zip(run_names(runs), runs, strict=True)
    ]
    return Table(("run", "state", "seconds", *names), tuple(rows), title="Results side by side")


def config_differences(runs: Sequence[RunReport]) -> Table:
    """The settings that are not equal in all runs; a setting that a run lacks is an empty cell."""
    configs = [flatten(run.config) for run in runs]
    keys = sorted({key for config in configs for key in config})
    rows = [
        (key, *(config.get(key) for config in configs))
        for key in keys
        if len({config.get(key) for config in configs}) > 1
    ]
    equal = len(keys) - len(rows)
    note = f"{equal} further setting{'s are' if equal != 1 else ' is'} equal in all runs."
    return Table(("setting", *run_names(runs)), tuple(rows), notes=(note,), title="Settings that differ")


def _curves_of(run: RunReport) -> Mapping[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for event in run.events:
        if isinstance(event, Scalar) and not event.name.startswith("system/"):
            curves.setdefault(event.name, []).append((event.step, event.value))
    return curves


def _columns(points: Sequence[tuple[int, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(step for step, _ in points), tuple(value for _, value in points)


def overlaid_curves(runs: Sequence[RunReport]) -> list[Figure]:
    """For each scalar that at least two runs reported over several steps, one plot with a line for each run."""
    named: list[tuple[str, Mapping[str, list[tuple[int, float]]]]] = [
        (name, _curves_of(run)) for name, run in zip(run_names(runs), runs, strict=True)
    ]
    keys = dict.fromkeys(key for _, curves in named for key in curves)
    figures: list[Figure] = []
    for key in keys:
        lines: list[Any] = [(name, curves[key]) for name, curves in named if len(curves.get(key, ())) > 1]
        if len(lines) > 1:
            series = tuple(Series(name, *_columns(points)) for name, points in lines)
            figures.append(Lines(series, x_title="step", y_title=key, title=f"{key}, run by run"))
    return figures
