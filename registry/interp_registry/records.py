"""Frozen records whose fields take arrays and lists, and that go to JSON and back by their annotations.

The base of :mod:`interp_registry.figures` and :mod:`interp_registry.events`. A field annotated ``tuple[tuple[float,
...], ...]`` accepts any nested sequence or an array (NumPy, torch) and holds nested tuples afterwards, so that
records can be compared, hashed and trusted.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Self

from interp_registry.errors import CorruptError, PluginError
from interp_registry.json_values import JsonValue, from_plain, to_plain

__all__ = ["Record"]


def _float(value: Any) -> float:
    """``value`` as a float; ``None`` and any NaN become the one ``math.nan``, so that equal records compare equal."""
    number = math.nan if value is None else float(value)
    return math.nan if math.isnan(number) else number


_SCALARS: dict[type, Callable[[Any], Any]] = {
    float: _float,
    int: int,
    str: str,
    bool: bool,
    bytes: bytes,
}


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _as_list(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _freeze_tuple(arguments: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    items = list(_as_list(value))
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_freeze(arguments[0], item) for item in items)
    if len(items) != len(arguments):
        raise ValueError(f"expected {len(arguments)} values, found {len(items)}")
    return tuple(_freeze(hint, item) for hint, item in zip(arguments, items, strict=True))


def _freeze_union(arguments: tuple[Any, ...], value: Any) -> Any:
    if value is None and types.NoneType in arguments:
        return None
    arms = [arm for arm in arguments if arm is not types.NoneType]
    if len(arms) == 1:
        return _freeze(arms[0], value)
    value = _as_list(value)
    if type(value) in arms:
        return value
    names = ", ".join(getattr(arm, "__name__", str(arm)) for arm in arms)
    raise TypeError(f"expected one of {names}, found {value!r:.60}")


def _freeze_scalar(hint: type, value: Any) -> Any:
    if isinstance(value, str) and hint is not str:
        raise TypeError(f"expected {hint.__name__}, found {value!r:.60}")
    return _SCALARS[hint](_as_list(value))


def _freeze_literal(arguments: tuple[Any, ...], value: Any) -> Any:
    if value not in arguments:
        raise ValueError(f"expected one of {', '.join(map(repr, arguments))}, found {value!r:.60}")
    return value


def _freeze_record(hint: type["Record"], value: Any) -> "Record":
    if isinstance(value, Mapping):
        return hint.from_json(value)
    if not isinstance(value, hint):
        raise TypeError(f"expected a {hint.__name__}, found {value!r:.60}")
    return value


def _freeze_dict(arguments: tuple[Any, ...], value: Any) -> dict[Any, Any]:
    return {_freeze(arguments[0], key): _freeze(arguments[1], item) for key, item in value.items()}


_GENERICS: dict[Any, Callable[[tuple[Any, ...], Any], Any]] = {
    tuple: _freeze_tuple,
    dict: _freeze_dict,
    typing.Union: _freeze_union,
    types.UnionType: _freeze_union,
    typing.Literal: _freeze_literal,
}


def _freeze(hint: Any, value: Any) -> Any:
    """``value`` as ``hint`` wants it: sequences as tuples, arrays as Python numbers, mappings as records."""
    if hint in _SCALARS:
        return _freeze_scalar(hint, value)
    generic = _GENERICS.get(typing.get_origin(hint))
    return _freeze_record(hint, value) if generic is None else generic(typing.get_args(hint), value)


@dataclasses.dataclass(frozen=True)
class Record:
    """A frozen dataclass that coerces its fields by their annotations; subclasses may check more in :meth:`check`."""

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            try:
                object.__setattr__(self, name, _freeze(hint, getattr(self, name)))
            except (TypeError, ValueError, AttributeError) as error:
                raise PluginError(f"{type(self).__name__}.{name}: {error}") from error
        self.check()

    def check(self) -> None:
        """Raise :class:`~interp_registry.errors.PluginError` when fields do not fit each other."""

    def to_json(self) -> dict[str, JsonValue]:
        """The fields that differ from their defaults, as a strict JSON object."""
        plain: dict[str, JsonValue] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING or value != field.default:
                plain[field.name] = _field_to_json(value)
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The record that :meth:`to_json` wrote.

        Raises:
            CorruptError: If a field is missing or unknown, or a value does not fit.
        """
        values = {key: value for key, value in data.items() if key not in ("kind", "v")}
        unknown = values.keys() - _hints(cls).keys()
        if unknown:
            raise CorruptError(f"a {cls.__name__} has no field {min(unknown)!r}")
        try:
            return cls(**{key: from_plain(value) for key, value in values.items()})
        except (TypeError, PluginError) as error:
            raise CorruptError(f"not a {cls.__name__}: {error}") from error


def _field_to_json(value: Any) -> JsonValue:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, tuple) and value and isinstance(value[0], Record):
        return [item.to_json() for item in value]
    return to_plain(value)
