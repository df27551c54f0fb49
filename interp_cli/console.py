"""The one place that writes to the terminal: results on stdout, everything else on stderr."""

import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from interp_cli.grid import Grid
from interp_cli.report.visible import visible_lines
from interp_registry.errors import InterpError
from interp_registry.stores.environment import redact

__all__ = [
    "duration",
    "err",
    "out",
    "plain",
    "print_json",
    "print_paths",
    "print_table",
    "setup_logging",
    "show_error",
    "size",
]

_PIPED_WIDTH = 200
_WRITING_THEMSELVES = {"huggingface_hub": "HF_HUB_VERBOSITY", "datasets": "DATASETS_VERBOSITY"}
"""Libraries that write their records to stderr and pass them on as well -> the variable that says from which level."""


class _Console(Console):
    """A console whose texts cannot drive the terminal: names come out of files and folders that others made."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print with control and direction characters written out; only what is no text is left to rich as it is."""
        super().print(*(visible_lines(each) if isinstance(each, str) else each for each in objects), **options)


def out() -> Console:
    """Console of results."""
    return _Console(file=sys.stdout, highlight=False, **_width(sys.stdout))


def err() -> Console:
    """Console of messages and errors."""
    return _Console(file=sys.stderr, soft_wrap=True, highlight=False)


def _width(stream: TextIO) -> dict[str, Any]:
    """Into a pipe or a file lines are long, so that no table is folded; COLUMNS decides where it is set."""
    return {} if stream.isatty() or "COLUMNS" in os.environ else {"width": _PIPED_WIDTH, "soft_wrap": True}


def show_error(error: InterpError) -> None:
    """Print an error as one message and, where there is one, what to do next."""
    console = err()
    console.print(f"[bold red]error[/] {escape(redact(error.message))}")
    if error.hint:
        console.print(f"[dim]  {escape(redact(error.hint))}[/]")


def print_json(value: Any) -> None:
    """Print one JSON object as one line of stdout; what a terminal would obey, or could not print, is escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    sys.stdout.write("".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table of text; cells are shown as they are, never as markup, and a column without any content is left out."""
    cells = [[Text("" if cell is None else visible_lines(str(cell))) for cell in row] for row in rows]
    full = [i for i in range(len(columns)) if not cells or any(row[i].plain for row in cells)]
    out().print(Grid([columns[i] for i in full], [[row[i] for i in full] for row in cells]))


def print_paths(paths: Iterable[Any]) -> None:
    """Print where things were written, one path a line that the terminal may fold but that is copied whole."""
    console = out()
    for path in paths:
        console.print(f"[dim]wrote[/] {escape(str(path))}", soft_wrap=True)


class _Formatter(logging.Formatter):
    """Formats records without secrets and without anything that drives a terminal: libraries log addresses and names."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's text."""
        return visible_lines(redact(super().format(record)))


def setup_logging(debug: bool, quiet: bool) -> None:
    """Send log records of the tool and of libraries to stderr, each once: some libraries write theirs themselves."""
    level = logging.DEBUG if debug else logging.ERROR if quiet else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for library, variable in _WRITING_THEMSELVES.items():
        logging.getLogger(library).propagate = False
        if quiet:
            os.environ.setdefault(variable, "error")


def plain(text: str) -> str:
    """Text that rich shows as it is, brackets included."""
    return escape(text)


def size(n_bytes: float) -> str:
    """A number of bytes for people, e.g. ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(n_bytes) < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB"


def duration(seconds: float) -> str:
    """A time for people, e.g. ``3 min 20 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
