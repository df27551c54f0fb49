"""Values as strict JSON and back: NaN and infinities survive, arrays become lists, bytes become base64.

JSON has no NaN; ``json.dumps`` writes a bare ``NaN`` that browsers and ``jq`` refuse. Here a non-finite number is the
object ``{"$float": "NaN"}`` (or ``"Infinity"``, ``"-Infinity"``) and bytes are ``{"$bytes": "<base64>"}``, wherever
they stand.
"""

import base64
import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, TypeAlias

from interp_registry.errors import CorruptError, PluginError

__all__ = ["JsonValue", "dumps", "from_plain", "loads", "to_plain"]

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

_NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _number(value: float) -> JsonValue:
    if math.isfinite(value):
        return value
    return {"$float": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def to_plain(value: Any) -> JsonValue:
    """A copy of ``value`` made of what strict JSON can hold.

    Args:
        value: ``None``, numbers, text, bytes, paths, enums, mappings, sequences, sets (sorted), dataclasses, and
            anything with a ``tolist`` method (NumPy and torch arrays and scalars), nested in any way.

    Returns: The value; :func:`from_plain` restores numbers and bytes, while tuples come back as lists and dataclasses
        as dicts.

    Raises:
        PluginError: If a value has none of these types.
    """
    if isinstance(value, enum.Enum):
        return to_plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, (bytes, PurePath)):
        return {"$bytes": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else str(value)
    return _container(value)


def _container(value: Any) -> JsonValue:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    as_list = getattr(value, "tolist", None)
    if as_list is not None:
        return to_plain(as_list())
    raise PluginError(
        f"a {type(value).__name__} cannot be written as JSON: {value!r:.80}",
        "hand over numbers, text, lists, dicts, arrays, paths or dataclasses",
    )


def from_plain(value: JsonValue) -> Any:
    """Undo :func:`to_plain`'s marks for non-finite numbers and bytes.

    Raises:
        CorruptError: If a mark holds something that :func:`to_plain` never writes.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$float"}:
        name = value["$float"]
        if isinstance(name, str) and name in _NAMES:
            return _NAMES[name]
        raise CorruptError(f"not a number that was written here: {name!r:.60} (expected one of {', '.join(_NAMES)})")
    if value.keys() == {"$bytes"}:
        try:
            return base64.b64decode(str(value["$bytes"]), validate=True)
        except ValueError as error:
            raise CorruptError(f"not base64: {value['$bytes']!r:.60}") from error
    return {key: from_plain(item) for key, item in value.items()}


def dumps(value: Any, *, indent: int | None = None) -> str:
    """``value`` as strict JSON text; one line unless ``indent`` is given."""
    separators = (",", ":") if indent is None else None
    return json.dumps(to_plain(value), allow_nan=False, ensure_ascii=False, indent=indent, separators=separators)


def loads(text: str) -> Any:
    """The value in ``text``, with non-finite numbers and bytes restored.

    Raises:
        CorruptError: If ``text`` is not JSON.
    """
    try:
        return from_plain(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise CorruptError(f"not JSON: {text!r:.60}: {error}") from error
