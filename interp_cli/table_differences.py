"""In what stored tables of one model on one data set differ, so that a list of their keys can be told apart."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from interp_registry.stores.maintenance import Summary

__all__ = ["differences"]

_DATA = "fingerprint"
_SHORT = 12


def differences(tables: Sequence[Summary]) -> list[str]:
    """For each table the settings in which it differs from others of its model and data set.

    The digest of the samples is among them only where settings and numbers of rows leave two tables alike.

    Returns:
        Lines such as "caption 0,1, dtype float16"; empty for a table that has no other beside it.
    """
    groups: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, table in enumerate(tables):
        if table.request:
            groups[table.kind, str(table.request.get("model")), str(table.request.get("dataset"))].append(place)
    said = [""] * len(tables)
    for places in groups.values():
        facts = [dict(_facts(tables[place].request)) for place in places]
        names = _telling([tables[place].rows for place in places], facts)
        for place, of_table in zip(places, facts, strict=True):
            said[place] = ", ".join(f"{name} {of_table.get(name, 'none')}" for name in names)
    return said


def _telling(rows: Sequence[int | None], facts: Sequence[Mapping[str, str]]) -> list[str]:
    known = sorted({name for one in facts for name in one})
    names = [name for name in known if len({one.get(name) for one in facts}) > 1 and name != _DATA]
    seen = {(n_rows, *(one.get(name) for name in names)) for n_rows, one in zip(rows, facts, strict=True)}
    return names if len(seen) == len(facts) else [*names, _DATA]


def _facts(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings by name, those in groups after their group's other settings; what is not set is left out."""
    for name, value in request.items():
        if isinstance(value, Mapping):
            yield from _facts(value)
        elif value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            yield name, text[:_SHORT] if name == _DATA else text
