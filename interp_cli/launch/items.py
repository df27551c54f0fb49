"""The items of an array, ``{item}`` in commands, and durations: what a user types for a launch."""

import re
from collections.abc import Sequence
from pathlib import Path

from interp_registry.errors import UsageError

__all__ = ["array_items", "commands_for", "minutes_of", "safe_name"]

_MAX_ITEMS = 100_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def array_items(text: str) -> list[str]:
    """Items of ``--array``: the lines of a file (without empty lines and ``#`` comments), or a list with commas.

    Raises:
        UsageError: There are none, or too many; or it looks like a file that is not there.
    """
    path = Path(text)
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        items = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    elif "," not in text and (text.endswith((".txt", ".list")) or text.startswith(("./", "/", "~"))):
        raise UsageError(f"--array {text}: no such file", "give a file with one item per line, or a,b,c")
    else:
        items = [part.strip() for part in text.split(",") if part.strip()]
    if not 0 < len(items) <= _MAX_ITEMS:
        raise UsageError(f"--array {text!r} has {len(items)} items", f"give 1 to {_MAX_ITEMS}")
    return items


def commands_for(command: Sequence[str], items: Sequence[str]) -> list[tuple[str, ...]]:
    """The command once per item, with ``{item}`` replaced in every word.

    Raises:
        UsageError: The command is empty, or does not mention ``{item}`` although there is an array.
    """
    if not command:
        raise UsageError("no command is given", "add it after --, e.g. -- extract --model {item}")
    if not any("{item}" in word for word in command):
        raise UsageError(
            f"the command {' '.join(command)!r} does not use {{item}}", "write {item} where each array item belongs"
        )
    return [tuple(word.replace("{item}", item) for word in command) for item in items]


def minutes_of(text: str) -> int:
    """Minutes of a duration, rounded up: ``90`` (minutes), ``8:00:00``, ``1-12:00:00``, ``8h``, ``45m``.

    Raises:
        UsageError: It is none of these.
    """
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d{2})(?::(\d{2}))?", text)
    unit = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text)
    if text.isdigit() and int(text):
        return int(text)
    if unit:
        seconds = float(unit[1]) * _UNITS[unit[2]]
    elif clock:
        days, first, second, third = (int(part) if part is not None else None for part in clock.groups())
        hours = (first or 0) * 3600 + (second or 0) * 60 + (third or 0)
        minutes_only = (first or 0) * 60 + (second or 0)
        seconds = (days or 0) * 86400 + (hours if third is not None or days is not None else minutes_only)
    else:
        seconds = 0
    if seconds <= 0:
        raise UsageError(f"{text!r} is no duration", "write 8:00:00, 90 (minutes), 8h or 45m")
    return -(-int(-(-seconds // 1)) // 60)


def safe_name(text: str, limit: int = 40) -> str:
    """A name for queues and files: letters, digits, ``.``, ``_`` and ``-``, at most ``limit`` characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:limit]
