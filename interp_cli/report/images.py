"""Every figure as files beside a report: PNG and SVG pictures, the data as JSON, tables as CSV."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from interp_registry.figures import Figure, Table
from interp_registry.json_values import dumps
from interp_registry.plots.static import can_draw, draw_bytes
from interp_registry.stores.artifact import replace, replace_text

__all__ = ["figure_stems", "write_figure"]


def figure_stems(figures: Iterable[Figure]) -> list[str]:
    """A distinct file stem for each figure, made of ASCII letters, digits and hyphens only."""
    stems: list[str] = []
    for figure in figures:
        plain = unicodedata.normalize("NFKD", figure.name or figure.title).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:60] or figure.kind.replace("_", "-")
        number = 2
        unique = stem
        while unique in stems:
            unique, number = f"{stem}-{number}", number + 1
        stems.append(unique)
    return stems


def write_figure(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write ``figure`` into ``folder`` as ``stem.png`` and ``.svg``, or ``.csv`` for a table, and ``.json`` with its data.

    Returns:
        The files, in that order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    if can_draw(figure):
        for file_format in ("png", "svg"):
            files.append(folder / f"{stem}.{file_format}")
            drawn = draw_bytes(figure, file_format)
            replace(files[-1], lambda file, drawn=drawn: file.write(drawn))
    if isinstance(figure, Table):
        files.append(folder / f"{stem}.csv")
        replace_text(files[-1], _csv(figure))
    files.append(folder / f"{stem}.json")
    replace_text(files[-1], dumps(figure.to_json(), indent=1) + "\n")
    return files


def _csv(table: Table) -> str:
    """The table as CSV; text that a spreadsheet would run as a formula is led by an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_inert, table.columns))
    writer.writerows([_inert(cell) for cell in row] for row in table.rows)
    return buffer.getvalue()


def _inert(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
