"""Text of the command line -> values, directed by the type of the field. Strings stay as they were typed."""

import enum
import json
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interp_registry.config_io.schema import choice_root, strip_optional
from interp_registry.config_io.yaml_files import parse_yaml
from interp_registry.errors import ConfigError, UsageError, near_names

__all__ = ["from_text", "type_name"]

_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_MAX_RANGE = 1_000_000


def from_text(text: str, annotation: Any, key: str) -> Any:
    """Turn what was typed for ``key`` into plain data that draccus decodes into ``annotation``.

    Strings and paths are taken as they are; booleans accept true/false/1/0/yes/no/on/off; integers accept ``1e3`` and ``0x10``;
    lists are comma-separated or in brackets, and integer lists take ranges (``0..3,7``); ``none`` empties an optional field.

    Raises:
        ConfigError: The text is no such value; the message lists what would be.
    """
    optional = _is_optional(annotation)
    if optional and text.lower() in {"none", "null"}:
        return None
    return _reader(strip_optional(annotation))(text, key)


def _reader(base: Any) -> Callable[[str, str], Any]:
    """The function (text, key) -> value for a type."""
    origin, arguments = typing.get_origin(base), typing.get_args(base)
    readers: list[tuple[bool, Callable[[str, str], Any]]] = [
        (base in _SCALARS, _SCALARS.get(base, _structured)),
        (origin is typing.Literal, lambda t, k: _literal(t, arguments, k)),
        (isinstance(base, enum.EnumType), lambda t, k: _literal(t, [member.name for member in base], k)),
        (origin in (list, tuple, set), lambda t, k: _sequence(t, base, k)),
        (origin in (typing.Union, types.UnionType), lambda t, k: _union(t, arguments, k)),
        (choice_root(base) is not None, lambda t, k: _structured(t, k) if t.lstrip().startswith("{") else t),
    ]
    return next((reader for applies, reader in readers if applies), _structured)


def _is_optional(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType) and type(None) in typing.get_args(
        annotation
    )


def type_name(annotation: Any) -> str:
    """A short name of a type for help and messages, e.g. ``int``, ``list of str``, ``path``."""
    base = strip_optional(annotation)
    origin, arguments = typing.get_origin(base), typing.get_args(base)
    if choice_root(base) is not None:
        return "name"
    if origin is typing.Literal:
        return "|".join(str(a) for a in arguments)
    if origin in (list, tuple, set):
        return f"{type_name(arguments[0])},..." if arguments else "list"
    if origin in (typing.Union, types.UnionType):
        return "|".join(type_name(a) for a in arguments if a is not type(None))
    names = {str: "text", int: "int", float: "float", bool: "bool", Path: "path"}
    return names.get(base, getattr(base, "__name__", str(base)).lower())


def _text(text: str, key: str) -> str:
    if "\0" in text:
        raise ConfigError("a value cannot hold a NUL character", key)
    return text


def _bool(text: str, key: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ConfigError(f"{text!r} is neither true nor false", key)


def _int(text: str, key: str) -> int:
    try:
        return int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if number.is_integer() and abs(number) < 2**63:
            return int(number)
        raise ConfigError(f"{text!r} is no whole number", key) from None


def _float(text: str, key: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no number", key) from None


_SCALARS: typing.Mapping[Any, typing.Callable[[str, str], Any]] = types.MappingProxyType(
    {str: _text, Path: _text, bool: _bool, int: _int, float: _float}
)


def _literal(text: str, allowed: typing.Sequence[Any], key: str) -> Any:
    for value in allowed:
        if str(value) == text:
            return value
    names = [str(a) for a in allowed]
    near = near_names(text, names)
    hint = f"did you mean {' or '.join(near)}?" if near else None
    raise ConfigError(f"{text!r} is not one of {', '.join(names)}", key, hint)


def _sequence(text: str, base: Any, key: str) -> list[Any]:
    stripped = text.strip()
    arguments = typing.get_args(base)
    element = arguments[0] if arguments else str
    if stripped.startswith("["):
        value = _structured(stripped, key)
        if not isinstance(value, list):
            raise ConfigError(f"{text!r} is no list", key)
        return [from_text(item, element, key) if isinstance(item, str) else item for item in value]
    items: list[Any] = []
    for part in (p.strip() for p in stripped.split(",")):
        if not part:
            continue
        span = _RANGE.fullmatch(part) if strip_optional(element) is int else None
        items += _range(span, key) if span else [from_text(part, element, key)]
    return items


def _range(span: "re.Match[str]", key: str) -> list[int]:
    first, last = int(span[1]), int(span[2])
    if not 0 <= last - first < _MAX_RANGE:
        raise ConfigError(f"{span[0]!r} is no range of at most {_MAX_RANGE} numbers", key)
    return list(range(first, last + 1))


def _union(text: str, members: typing.Sequence[Any], key: str) -> Any:
    order = [m for m in members if m not in (str, type(None))] + [m for m in members if m is str]
    for member in order:
        try:
            return from_text(text, member, key)
        except ConfigError:
            continue
    raise ConfigError(f"{text!r} is none of {', '.join(type_name(m) for m in order)}", key)


def _structured(text: str, key: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return parse_yaml(text, key)
    except UsageError as err:
        raise ConfigError(f"{text!r} is neither JSON nor YAML", key) from err
