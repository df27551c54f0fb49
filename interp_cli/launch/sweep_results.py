"""The results of a sweep side by side: a table, a file for spreadsheets, and figures over parameters and experiments."""

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from interp_cli.launch.folder import Ended, LaunchFolder, Task
from interp_cli.launch.sweep_points import short_names
from interp_registry.errors import UnknownNameError
from interp_registry.figures import Cell, Figure, HeatMap, Lines, Series, Table

__all__ = [
    "Row",
    "figures_of",
    "importance",
    "metric_names",
    "results_csv",
    "results_table",
    "rows_of",
    "scalar_of",
    "scalars_of",
]

_BINS = 6
_SHOWN_METRICS = 8
_SHOWN_IMPORTANCES = 12


@dataclass(frozen=True)
class Row:
    """One point and what came of it.

    Attributes:
        task: The point.
        state: "done", "failed", "cancelled", or "open".
        scalars: The numbers that it found.
        run: Folder of its run.
    """

    task: Task
    state: str
    scalars: Mapping[str, float]
    run: str = ""


def scalars_of(run: str) -> dict[str, float]:
    """The numbers of a run's result; empty when there is none."""
    try:
        data = json.loads((Path(run) / "result.json").read_text(encoding="utf-8")) if run else {}
    except (OSError, json.JSONDecodeError):
        return {}
    said = data.get("scalars", {})
    return {
        name: float(value)
        for name, value in said.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def scalar_of(ended: Ended, metric: str) -> float | None:
    """One number of the run that a task made, or None."""
    return scalars_of(ended.run).get(metric)


def rows_of(folder: LaunchFolder) -> list[Row]:
    """All points of a sweep in order."""
    ended = folder.all_ended()
    rows: list[Row] = []
    for task in folder.tasks():
        how = ended.get(task.i)
        state, runs = ("open", []) if how is None else (how.state, how.run.splitlines())
        points = [replace(task, i=p["i"], params=p["params"], points=[]) for p in task.points] or [task]
        for number, point in enumerate(points):
            run = runs[number] if number < len(runs) else ""
            rows.append(Row(point, state, scalars_of(run), run))
    return sorted(rows, key=lambda row: row.task.i)


def metric_names(rows: Sequence[Row], wanted: Sequence[str] = ()) -> list[str]:
    """Scalars to show: those asked for, or all that the results have, the ones that differ first.

    Raises:
        UnknownNameError: No result has one that was asked for.
    """
    known = list(dict.fromkeys(name for row in rows for name in row.scalars))
    for name in wanted:
        if name not in known:
            raise UnknownNameError("scalar of the results", name, known, "--metric")
    return list(wanted) or sorted(known, key=lambda name: (_spread(rows, name) == 0.0, known.index(name)))


def _spread(rows: Sequence[Row], name: str) -> float:
    values = [row.scalars[name] for row in rows if name in row.scalars]
    return max(values) - min(values) if values else 0.0


def results_table(rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    """One line per point: number, experiment, parameters, state, scalars."""
    keys = _parameters(rows)
    names = short_names(keys)
    several = any(row.task.experiment for row in rows)
    columns = ("point", *(("experiment",) if several else ()), *(names[key] for key in keys), "state", *metrics)
    cells = [
        (
            row.task.i,
            *((row.task.experiment,) if several else ()),
            *(_cell(row.task.params.get(key)) for key in keys),
            row.state,
            *(row.scalars.get(name) for name in metrics),
        )
        for row in rows
    ]
    return Table(columns, tuple(cells), title="Points of the sweep")


def results_csv(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """The same as comma-separated text, with full parameter names and the folder of each run."""
    keys = _parameters(rows)
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(["point", "experiment", *keys, "state", *metrics, "run"])
    for row in rows:
        parameters = [_cell(row.task.params.get(key)) for key in keys]
        numbers = ["" if name not in row.scalars else repr(row.scalars[name]) for name in metrics]
        writer.writerow(
            [row.task.i, _inert(row.task.experiment), *map(_inert, parameters), row.state, *numbers, row.run]
        )
    return target.getvalue()


def _inert(cell: Cell) -> Cell:
    """Text that a spreadsheet would take for a formula is marked as text."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t") else cell


def _parameters(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row.task.params))


def _cell(value: Any) -> Cell:
    return value if value is None or isinstance(value, (str, int, float, bool)) else json.dumps(value)


def importance(rows: Sequence[Row], key: str, metric: str) -> float:
    """Share of a metric's variance that one parameter explains by itself: eta squared, in [0, 1]; NaN when it cannot be told.

    The correlation ratio of Pearson: the variance of the group means over the whole variance, groups being the parameter's values (six
    quantile bins when it has more). It sees effects of any shape but no interactions, and with few points per group it is too high:
    pure noise gives about (groups - 1) / (points - 1).

    Args:
        rows: Points; those without the parameter or the metric are left out.
        key: Dotted name of the parameter.
        metric: Name of the scalar.
    """
    pairs = [
        (row.task.params[key], row.scalars[metric]) for row in rows if key in row.task.params and metric in row.scalars
    ]
    groups: dict[Any, list[float]] = defaultdict(list)
    for label, (_, value) in zip(_binned([value for value, _ in pairs]), pairs, strict=True):
        groups[label].append(value)
    values = [value for _, value in pairs]
    if len(groups) < 2 or len(values) <= len(groups):
        return math.nan
    mean = sum(values) / len(values)
    whole = sum((value - mean) ** 2 for value in values)
    between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups.values())
    return min(1.0, between / whole) if whole > 0 else math.nan


def _binned(values: Sequence[Any]) -> list[Any]:
    texts = [json.dumps(value) for value in values]
    if len(set(texts)) <= _BINS or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        return texts
    order = sorted(values)
    return [min(_BINS - 1, order.index(value) * _BINS // len(order)) for value in values]


def figures_of(rows: Sequence[Row], metrics: Sequence[str]) -> list[Figure]:
    """Parallel coordinates of each experiment, importances, and the mean of each metric per experiment."""
    done = [row for row in rows if row.state == "done" and row.scalars]
    experiments = list(dict.fromkeys(row.task.experiment for row in done))
    figures: list[Figure] = []
    for experiment in experiments:
        members = [row for row in done if row.task.experiment == experiment]
        title = f" of {experiment}" if experiment else ""
        shown = [name for name in metrics if _spread(members, name) > 0][:_SHOWN_METRICS]
        if shown and len(members) > 1:
            figures.append(_parallel(members, shown[0], title))
            heat_map = _importances(members, shown[:_SHOWN_IMPORTANCES], title)
            figures += [heat_map] if heat_map is not None else []
    if len(experiments) > 1:
        figures.append(_means(done, experiments, list(metrics)[:_SHOWN_METRICS]))
    return figures


def _parallel(rows: Sequence[Row], metric: str, title: str) -> Lines:
    keys = [key for key in _parameters(rows) if len({json.dumps(row.task.params.get(key)) for row in rows}) > 1]
    names = short_names(keys)
    rows = sorted((row for row in rows if metric in row.scalars), key=lambda row: row.scalars[metric])
    columns = [_placed([row.task.params.get(key) for row in rows]) for key in keys] + [
        _placed([row.scalars[metric] for row in rows])
    ]
    axes = [*(names[key] for key in keys), metric]
    series = tuple(
        Series(
            f"{row.task.i}: {row.task.name}",
            tuple(float(i) for i in range(len(axes))),
            tuple(column[k] for column in columns),
        )
        for k, row in enumerate(rows)
    )
    ends = "; ".join(f"{i} = {axis} ({_range_text(rows, keys, metric, i)})" for i, axis in enumerate(axes))
    return Lines(
        series, x_title="axis", y_title="place between smallest and largest",
        title=f"Parallel coordinates{title}",
        caption=f"One line per point. Axes: {ends}. Values that are no numbers stand in the order of the file.",
        name=f"parallel-coordinates{title.replace(' ', '-')}",
    )  # fmt: skip


def _placed(values: Sequence[Any]) -> list[float]:
    """Values scaled to 0 .. 1; by rank of first appearance when they are no numbers, by logarithm over two decades."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        order = list(dict.fromkeys(json.dumps(value) for value in values))
        return [order.index(json.dumps(value)) / max(1, len(order) - 1) for value in values]
    if min(numbers) > 0 and max(numbers) / min(numbers) >= 100:
        numbers = [math.log(number) for number in numbers]
    low, high = min(numbers), max(numbers)
    return [0.5 if high == low else (number - low) / (high - low) for number in numbers]


def _range_text(rows: Sequence[Row], keys: Sequence[str], metric: str, axis: int) -> str:
    last = axis == len(keys)
    values: list[Any] = [row.scalars[metric] if last else row.task.params.get(keys[axis]) for row in rows]
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        return f"{min(numbers):g} to {max(numbers):g}"
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _importances(rows: Sequence[Row], metrics: Sequence[str], title: str) -> HeatMap | None:
    keys = _parameters(rows)
    values = tuple(tuple(importance(rows, key, metric) for key in keys) for metric in metrics)
    if all(math.isnan(value) for row in values for value in row):
        return None
    names = short_names(keys)
    return HeatMap(
        values, rows=tuple(metrics), columns=tuple(names[key] for key in keys), row_title="result", column_title="parameter",
        units="share of variance explained", value_range=(0.0, 1.0), title=f"Importance of parameters{title}",
        caption=f"Eta squared of each parameter alone over {len(rows)} points; noise gives about (groups - 1) / (points - 1).",
        name=f"importance{title.replace(' ', '-')}",
    )  # fmt: skip


def _means(rows: Sequence[Row], experiments: Sequence[str], metrics: Sequence[str]) -> Table:
    cells: list[tuple[Cell, ...]] = []
    for experiment in experiments:
        members = [row for row in rows if row.task.experiment == experiment]
        numbers = [[row.scalars[name] for row in members if name in row.scalars] for name in metrics]
        cells.append((experiment, len(members), *(sum(n) / len(n) if n else None for n in numbers)))
    return Table(("experiment", "points", *metrics), tuple(cells), title="Means over the points of each experiment")
