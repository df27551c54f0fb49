"""Heat maps in a terminal: coloured cells with numbers or words where there is room, else half blocks; a table without colour."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text

from interp_cli.report.visible import shorten, visible
from interp_registry.figures import HeatMap
from interp_registry.plots.palette import DARK, LIGHT, Theme, ink_on
from interp_registry.plots.scale import ColourScale, cell_texts, number_text, scale_of

__all__ = ["heat_map_text", "plain_heat_map", "terminal_theme"]

_MARK = "*"
_MAX_LABEL = 28
_MAX_HEADER_LINES = 3
_MAX_ROWS_OF_NUMBERS = 40
_MAX_ROWS_OF_BLOCKS = 80


def terminal_theme() -> Theme:
    """The light theme where the terminal says that its background is light (``COLORFGBG``), else the dark one."""
    return LIGHT if os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15") else DARK


def heat_map_text(figure: HeatMap, width: int, theme: Theme | None = None) -> Text:
    """A coloured heat map at most ``width`` characters wide (colour is the style of cells, so it needs a terminal)."""
    theme = theme or terminal_theme()
    figure, scale = figure.arranged(), scale_of(figure)
    if not figure.values or not figure.values[0]:
        return Text("(empty)")
    labels = min(max(map(len, figure.rows)), _MAX_LABEL, max(width // 3, 4))
    texts = _marked_texts(figure)
    needed = max(len(text) for row in texts for text in row) + 1
    room = (width - labels - 1) // figure.shape[1]
    if room >= needed and figure.shape[0] <= _MAX_ROWS_OF_NUMBERS:
        wanted = max(needed + 1, max(map(len, figure.columns)) + 2)
        body = _numbered(figure, texts, scale, theme, (labels, min(room, wanted)))
    elif figure.annotations and max(figure.shape) <= _MAX_ROWS_OF_NUMBERS and width - labels - 1 >= needed:
        body = _in_blocks(figure, texts, scale, theme, (labels, width - labels - 1, needed))
    else:
        body = _half_blocks(figure, scale, theme, labels, width)
    return Text("\n").join([*body, _legend(figure, scale, theme, width)])


def _thinned(figure: HeatMap, rows: int, columns: int) -> tuple[HeatMap, str]:
    """An arranged heat map with one row and one column in a few, at most ``rows`` and ``columns``, and a note that says so."""
    n_rows, n_columns = figure.shape
    down, right = math.ceil(n_rows / rows), math.ceil(n_columns / columns)
    if down == right == 1:
        return figure, ""
    thin = replace(
        figure,
        values=[row[::right] for row in figure.values[::down]],
        rows=figure.rows[::down],
        columns=figure.columns[::right],
        annotations=[row[::right] for row in figure.annotations[::down]],
        hover=(),
        marked=[(i // down, j // right) for i, j in figure.marked if i % down == 0 and j % right == 0],
    )
    steps = [f"one {word} in {k}" for k, word in ((down, "row"), (right, "column")) if k > 1]
    return thin, f"{n_rows} x {n_columns}, {' and '.join(steps)} shown"


def _marked_texts(figure: HeatMap) -> list[list[str]]:
    marked = set(figure.marked)
    return [
        [shorten(text, 12) + (_MARK if (i, j) in marked else "") for j, text in enumerate(row)]
        for i, row in enumerate(cell_texts(figure))
    ]


def _header_lines(columns: Sequence[str], cell: int) -> list[list[str]]:
    """Column labels in as many lines as they need, three at most, each at most ``cell`` - 1 characters wide."""
    room = cell - 1
    wrapped = [_wrapped(visible(column), room) for column in columns]
    height = min(max(map(len, wrapped)), _MAX_HEADER_LINES)
    kept = [
        lines if len(lines) <= height else [*lines[: height - 1], " ".join(lines[height - 1 :])] for lines in wrapped
    ]
    return [[shorten(lines[k], room) if k < len(lines) else "" for lines in kept] for k in range(height)]


def _wrapped(label: str, width: int) -> list[str]:
    """A label in lines of ``width`` characters, broken at spaces and behind ``-``, ``_`` and ``/``."""
    lines = [""]
    for piece in re.split(r"(?<=[-_/])|\s+", label):
        glue = "" if not lines[-1] or lines[-1][-1] in "-_/" else " "
        if lines[-1] and len(lines[-1] + glue + piece) > width:
            lines.append(piece)
        else:
            lines[-1] += glue + piece
    return lines


def _numbered(
    figure: HeatMap, texts: list[list[str]], scale: ColourScale, theme: Theme, widths: tuple[int, int]
) -> list[Text]:
    labels, cell = widths
    header = _header_lines(figure.columns, cell)
    lines = [Text(" " * (labels + 1) + "".join(word.center(cell) for word in words), style="dim") for words in header]
    for i, row in enumerate(figure.values):
        line = Text(shorten(figure.rows[i], labels).rjust(labels) + " ")
        for value, text in zip(row, texts[i], strict=True):
            colour = scale.colour(value, theme)
            weight = "bold " if text.endswith(_MARK) else ""
            line.append(text.center(cell), f"{weight}{ink_on(colour)} on {colour}")
        lines.append(line)
    return lines


def _in_blocks(
    figure: HeatMap, texts: list[list[str]], scale: ColourScale, theme: Theme, widths: tuple[int, int, int]
) -> list[Text]:
    """Cells with words, which are the point of the map: columns that do not fit follow in further blocks of about the same size."""
    labels, room, needed = widths
    n_columns = figure.shape[1]
    n_blocks = math.ceil(n_columns / (room // needed))
    size = math.ceil(n_columns / n_blocks)
    cell = min(room // size, max(needed + 1, max(map(len, figure.columns)) + 2))
    lines: list[Text] = []
    for start in range(0, n_columns, size):
        chosen = slice(start, start + size)
        part = replace(
            figure,
            values=[row[chosen] for row in figure.values],
            columns=figure.columns[chosen],
            annotations=[row[chosen] for row in figure.annotations],
            hover=(),
            marked=(),
        )
        lines += _numbered(part, [row[chosen] for row in texts], scale, theme, (labels, cell))
    return lines


def _half_blocks(figure: HeatMap, scale: ColourScale, theme: Theme, labels: int, width: int) -> list[Text]:
    """Two rows of the map in each line: the upper one as the glyph's colour, the lower one as its background."""
    room = width - labels - 1
    figure, note = _thinned(figure, _MAX_ROWS_OF_BLOCKS, room)
    n_rows, n_columns = figure.shape
    cell = 2 if 2 * n_columns <= room else 1
    lines: list[Text] = []
    for top in range(0, n_rows, 2):
        line = Text(shorten(figure.rows[top], labels).rjust(labels) + " ", style="")
        for j in range(n_columns):
            upper = scale.colour(figure.values[top][j], theme)
            lower = f" on {scale.colour(figure.values[top + 1][j], theme)}" if top + 1 < n_rows else ""
            line.append("▀" * cell, f"{upper}{lower}")
        lines.append(line)
    span = f"{shorten(figure.columns[0], 16)} to {shorten(figure.columns[-1], 16)}"
    words = f"{shorten(figure.column_title or 'columns', 30)} {span}{f'; {note}' if note else ''}"
    lines.append(Text(" " * (labels + 1) + words, style="dim"))
    return lines


def _legend(figure: HeatMap, scale: ColourScale, theme: Theme, width: int) -> Text:
    """The colours with their ends, and what is marked: behind them where that fits, else on a line of its own."""
    line = Text()
    line.append(number_text(scale.low, 3) + " ", "dim")
    for step in range(16):
        line.append("█", scale.colour(scale.low + (scale.high - scale.low) * step / 15, theme))
    room = max(min(width - len(line.plain) - 12, 40), 4)
    line.append(f" {number_text(scale.high, 3)} {shorten(figure.units, room)}".rstrip(), "dim")
    marks = shorten(_marks(figure), width)
    glue = "   " if len(line.plain) + 3 + len(marks) <= width else "\n"
    return line.append(f"{glue}{marks}" if marks else "", "dim")


def _marks(figure: HeatMap) -> str:
    rows, columns = figure.row_title, figure.column_title
    named = [f"{rows} {figure.rows[i]}, {columns} {figure.columns[j]}".strip() for i, j in figure.marked[:3]]
    return shorten(f"{_MARK} {'; '.join(named)}", 77) if named else ""


def plain_heat_map(figure: HeatMap, width: int) -> str:
    """The numbers of a heat map as text without colour; columns that do not fit ``width`` follow in further blocks."""
    marks, units = _marks(figure.arranged()), shorten(figure.units, 60)
    figure, note = _thinned(figure.arranged(), _MAX_ROWS_OF_NUMBERS, _MAX_ROWS_OF_NUMBERS)
    if not figure.values or not figure.values[0]:
        return "(empty)"
    texts = _marked_texts(figure)
    labels = min(max(map(len, figure.rows)), _MAX_LABEL)
    needed = max(len(text) for row in texts for text in row)
    room = (width - labels) // figure.shape[1]
    cell = min(max(room, needed + 2), max(needed, *map(len, figure.columns)) + 2)
    per_block = max((width - labels) // cell, 1)
    lines: list[str] = []
    for start in range(0, figure.shape[1], per_block):
        chosen = slice(start, start + per_block)
        header = _header_lines(figure.columns[chosen], cell - 1)
        lines += [(" " * labels + "".join(word.rjust(cell) for word in words)).rstrip() for words in header]
        lines += [
            (shorten(name, labels).ljust(labels) + "".join(text.rjust(cell) for text in row[chosen])).rstrip()
            for name, row in zip(figure.rows, texts, strict=True)
        ]
    return "\n".join([*lines, *(line for line in (note, "   ".join(filter(None, (units, marks)))) if line)])
