"""How a task's command line names the sweep points that run side by side in its process, in one word."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from interp_registry.errors import UsageError

__all__ = ["points_in", "points_word"]

_BEGIN = "--batch-of-points="


def points_word(points: Sequence[Mapping[str, Any]]) -> str:
    """The word for these points: ``--batch-of-points=[{"seed": 0, ...}, ...]``."""
    return _BEGIN + json.dumps([dict(params) for params in points])


def points_in(words: Sequence[str]) -> tuple[list[str], list[dict[str, Any]] | None]:
    """The other words of a command line, and the parameters of each point that it names; None when it names none.

    Raises:
        UsageError: What it names is no list of points.
    """
    found = next((word for word in words if word.startswith(_BEGIN)), None)
    if found is None:
        return list(words), None
    return [word for word in words if word is not found], _points(found)


def _points(word: str) -> list[dict[str, Any]]:
    try:
        points = json.loads(word.removeprefix(_BEGIN))
    except (ValueError, RecursionError):
        points = None
    if not isinstance(points, list) or not points or not all(isinstance(point, dict) for point in points):
        raise UsageError(
            f"{word!r} names no points", f'a sweep writes it, as {_BEGIN}\'[{{"seed": 0}}, {{"seed": 1}}]\''
        )
    return points
