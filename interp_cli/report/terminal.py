"""Figures in a terminal, with colour where the console has it and as plain text where it has not."""

import math
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from interp_cli.grid import Grid
from interp_cli.report.terminal_heat_map import heat_map_text, plain_heat_map, terminal_theme
from interp_cli.report.visible import shorten, visible
from interp_registry.contracts.method import Result
from interp_registry.figures import Cell, Figure, Graph, HeatMap, Histogram, Images, Lines, MarkedText, Scatter, Table
from interp_registry.plots.palette import ink_on
from interp_registry.plots.scale import number_text, scale_of
from interp_registry.regression import fit_line

__all__ = ["figure_renderable", "has_colour", "print_result", "sparkline", "table_renderable"]

_BARS = "▁▂▃▄▅▆▇█"
_GROUP_MARKS = "●○▲△■□◆◇"
_PIPE_WIDTH = 160
_SHOWN_FIGURES = 4
_MAX_EDGES = 20
_MAX_CAPTIONS = 6
_MAX_SHOWN_ROWS = 24
_ROWS_OF_LONG_TABLES = 10
_COLUMNS_OF_A_LIST = 3


def has_colour(console: Console) -> bool:
    """Whether the console is a terminal that shows colour; ``NO_COLOR`` and ``TERM=dumb`` say no."""
    return (
        console.is_terminal
        and not console.no_color
        and console.color_system is not None
        and not console.is_dumb_terminal
    )


def print_result(console: Console, result: Result) -> None:
    """Print the tables, the first figures and the numbers of a result, and its lead sentences.

    Lines are longer than 80 characters where no terminal sets the width.
    """
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(file=console.file, width=_PIPE_WIDTH, highlight=False)
    for figure in (*result.tables, *result.figures[:_SHOWN_FIGURES]):
        console.print(figure_renderable(figure, console), soft_wrap=not console.is_terminal)
        console.print()
    if len(result.figures) > _SHOWN_FIGURES:
        rest = len(result.figures) - _SHOWN_FIGURES
        console.print(Text(f"and {rest} more {'figure' if rest == 1 else 'figures'} in the report\n", style="dim"))
    lead = result.data.get("lead")
    for sentence in lead if isinstance(lead, list) else ():
        console.print(Text(f"{visible(str(sentence))}\n"))
    width = max(map(len, result.scalars), default=0)
    for name, value in result.scalars.items():
        shown = visible(value) if isinstance(value, str) else number_text(value, 5)
        console.print(Text(f"{visible(name):<{width}}  ") + Text(shown, style="bold"))


def figure_renderable(figure: Figure, console: Console) -> RenderableType:
    """A figure with its title and caption, as wide as the console."""
    body = _DRAWERS[type(figure)](figure, console)
    parts: list[RenderableType] = [Text(visible(figure.title), style="bold")] if figure.title else []
    parts.append(body if not isinstance(body, str) else Text(body))
    parts += [Text(visible(note), style="dim") for note in (figure.notes if isinstance(figure, Table) else ())]
    if figure.caption:
        parts.append(Text(visible(figure.caption), style="dim"))
    return Group(*parts)


def sparkline(values: Sequence[float], width: int = 32) -> str:
    """Values as bars of eight heights, the means of ``width`` equal stretches; NaN is a space."""
    n = len(values)
    if n > width:
        cuts = [round(i * n / width) for i in range(width + 1)]
        values = [_mean(values[low:high]) for low, high in pairwise(cuts)]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return " " * len(values)
    low, spread = min(finite), (max(finite) - min(finite)) or 1.0
    return "".join(_BARS[min(int((v - low) / spread * 8), 7)] if math.isfinite(v) else " " for v in values)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _heat_map(figure: HeatMap, console: Console) -> RenderableType:
    return heat_map_text(figure, console.width) if has_colour(console) else plain_heat_map(figure, console.width)


def _lines(figure: Lines, console: Console) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_row(Text(""), Text(shorten(figure.x_title, 40), style="dim"), Text("first"), Text("last"), Text("least"))
    for series in figure.series:
        finite = [value for value in series.y if math.isfinite(value)] or [math.nan]
        numbers = [number_text(value) for value in (finite[0], finite[-1], min(finite))]
        name = Text(shorten(series.name, 32))
        grid.add_row(name, Text(sparkline(series.y, max(min(console.width - 70, 60), 16))), *map(Text, numbers))
    references = [Text(f"{visible(r.label)}: {number_text(r.value)}", style="dim") for r in figure.references]
    return Group(grid, *references)


def _scatter(figure: Scatter, console: Console) -> RenderableType:
    width, height = max(min(console.width - 12, 64), 20), 14
    points = [
        (math.log10(x) if figure.x_log else x, math.log10(y) if figure.y_log else y, k)
        for k, (x, y) in enumerate(zip(figure.x, figure.y, strict=True))
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not figure.x_log) and (y > 0 or not figure.y_log)
    ]
    if not points:
        return "(no finite points)"
    names = list(dict.fromkeys(figure.groups)) or [""]
    cells = [[" "] * width for _ in range(height)]
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    for x, y, k in points:
        column = round(_share(x, xs) * (width - 1))
        row = height - 1 - round(_share(y, ys) * (height - 1))
        cells[row][column] = _GROUP_MARKS[names.index(figure.groups[k]) % 8] if figure.groups else _GROUP_MARKS[0]
    lines = ["│" + "".join(row).rstrip() for row in cells]
    x_ends = f"{number_text(_back(min(xs), figure.x_log), 3)} … {number_text(_back(max(xs), figure.x_log), 3)}"
    y_ends = f"{number_text(_back(min(ys), figure.y_log), 3)} … {number_text(_back(max(ys), figure.y_log), 3)}"
    lines.append("└" + "─" * width)
    lines.append(f"x: {visible(figure.x_title)} {x_ends}   y: {visible(figure.y_title)} {y_ends}")
    if len(names) > 1:
        lines.append("  ".join(f"{_GROUP_MARKS[i % 8]} {visible(name)}" for i, name in enumerate(names)))
    if figure.regression:
        lines.append(fit_line(figure.x, figure.y, figure.x_log, figure.y_log).sentence)
    return "\n".join(lines)


def _back(value: float, log: bool) -> float:
    return 10**value if log else value


def _share(value: float, values: Sequence[float]) -> float:
    low, high = min(values), max(values)
    return 0.5 if high == low else (value - low) / (high - low)


def _histogram(figure: Histogram, console: Console) -> RenderableType:
    ends = [number_text(edge, 3) for edge in (figure.edges[0], figure.edges[-1])]
    room = max(console.width - sum(map(len, ends)) - 2, 8)
    at_once = -(-len(figure.counts) // room)
    counts = [sum(figure.counts[i : i + at_once]) for i in range(0, len(figure.counts), at_once)]
    bars = sparkline([0.0, *counts], len(counts) + 1)[1:]
    title = visible(figure.x_title)
    glue = "  " if room - len(bars) >= len(title) + 2 else "\n"
    lines = [f"{ends[0]} {bars} {ends[1]}{glue}{title}".rstrip()]
    for value, label in ((figure.observed, figure.observed_label), (figure.threshold, figure.threshold_label)):
        lines += [f"{visible(label)}: {number_text(value)}"] if value is not None else []
    return "\n".join(lines)


def _graph(figure: Graph, _console: Console) -> RenderableType:
    arrow = "→" if figure.directed else "-"
    strongest = sorted(figure.edges, key=lambda edge: -abs(edge.weight))[:_MAX_EDGES]
    names = [visible(node.label) for node in figure.nodes]
    lines = [
        f"{names[e.source]} {arrow} {names[e.target]}  {number_text(e.weight, 3)} {visible(e.label)}".rstrip()
        for e in strongest
    ]
    rest = len(figure.edges) - len(strongest)
    return "\n".join([*lines, *([f"and {rest} weaker edges"] if rest else [])]) or ", ".join(names)


def _images(figure: Images, _console: Console) -> RenderableType:
    lines = [f"picture {i + 1}: {visible(picture.caption)}" for i, picture in enumerate(figure.pictures)]
    rest = len(lines) - _MAX_CAPTIONS
    return "\n".join(
        [*lines[:_MAX_CAPTIONS], *([f"and {rest} more pictures; the report shows them"] if rest > 0 else [])]
    )


def _marked_text(figure: MarkedText, console: Console) -> RenderableType:
    if not has_colour(console):
        pairs = sorted(
            zip(figure.values, figure.tokens, strict=True),
            key=lambda pair: -pair[0] if pair[0] == pair[0] else math.inf,
        )
        highest = ", ".join(f"{visible(token)!r} {number_text(value, 3)}" for value, token in pairs[:8])
        return f"{visible(''.join(figure.tokens))}\nhighest {visible(figure.units)}: {highest}"
    scale, theme, text = scale_of(figure), terminal_theme(), Text()
    for token, value in zip(figure.tokens, figure.values, strict=True):
        colour = scale.colour(value, theme)
        text.append(visible(token), "" if math.isnan(value) else f"{ink_on(colour)} on {colour}")
    return text


def table_renderable(table: Table, max_rows: int = _MAX_SHOWN_ROWS) -> RenderableType:
    """A table whose numbers stand to the right; of a long one the first rows are shown, the others counted.

    Above ``max_rows`` rows, a list of names and values shows so many of them, a wider table ten.
    """
    is_list = len(table.columns) <= _COLUMNS_OF_A_LIST
    n_shown = len(table.rows) if len(table.rows) <= max_rows else max_rows if is_list else _ROWS_OF_LONG_TABLES
    numeric = [
        bool(table.rows) and all(isinstance(row[i], (int, float)) or row[i] is None for row in table.rows)
        for i in range(len(table.columns))
    ]
    rows = [[_cell(cell, table.digits) for cell in row] for row in table.rows[:n_shown]]
    grid = Grid([visible(column) for column in table.columns], rows, numeric)
    rest = len(table.rows) - n_shown
    return Group(grid, Text(f"and {rest} more rows", style="dim")) if rest > 0 else grid


def _cell(cell: Cell, digits: int) -> Text:
    if isinstance(cell, bool):
        return Text("yes" if cell else "no")
    return Text(visible(cell) if isinstance(cell, str) else number_text(cell, digits))


_DRAWERS: dict[type[Figure], Callable[[Any, Console], Any]] = {
    HeatMap: _heat_map,
    Lines: _lines,
    Scatter: _scatter,
    Histogram: _histogram,
    Graph: _graph,
    Images: _images,
    MarkedText: _marked_text,
    Table: lambda table, _console: table_renderable(table),
}
