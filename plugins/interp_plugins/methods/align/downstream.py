"""Downstream scores of models, from a CSV file, to set against their alignment."""

import csv
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from interp_registry.errors import DataError, UsageError, near_names

__all__ = ["add_facts", "read_scores"]


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """Numbers by model and column of a CSV file with a column ``model``; empty cells are left out.

    Raises:
        UsageError: There is no such file, or it has no column ``model``.
        DataError: A cell is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise UsageError(f"{str(path)!r} cannot be read: {err}", "give a CSV file with a column model") from err
    if not rows or "model" not in rows[0]:
        columns = ", ".join(rows[0]) if rows else "none"
        raise UsageError(f"{str(path)!r} has no column 'model' (columns: {columns})", "its other columns are scores")
    return {row["model"]: {key: _number(row, key, path) for key in row if key != "model" and row[key]} for row in rows}


def add_facts(facts: Mapping[str, MutableMapping[str, float]], path: Path) -> None:
    """Add each model's scores to what is known of it.

    Args:
        facts: What is known, by model; changed in place.
        path: The CSV file.

    Raises:
        UsageError: No row of the file is about one of the models.
    """
    scores = read_scores(path)
    found = set(scores) & set(facts)
    if not found:
        near = [hit for name in facts for hit in near_names(name, scores)]
        hint = f"it has {', '.join(near or sorted(scores)[:6])}"
        raise UsageError(f"{str(path)!r} has no row for any of {', '.join(facts)}", hint)
    for name in found:
        facts[name].update(scores[name])


def _number(row: Mapping[str, str], key: str, path: Path) -> float:
    try:
        return float(row[key])
    except (TypeError, ValueError) as err:
        raise DataError(f"{path}: {row['model']!r} has {row[key]!r} in column {key!r}, which is no number") from err
