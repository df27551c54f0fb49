"""Configuration objects as plain data, and back; data of a wrong type are named in the words of the command line."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import draccus
from draccus.utils import DecodingError, DraccusException

from interp_registry.config_io.schema import MISSING, choice_root, fields_of, strip_optional
from interp_registry.config_io.values import type_name
from interp_registry.errors import ConfigError, InterpError

__all__ = ["decode", "encode"]

C = TypeVar("C")

_WRONG_TYPE = ("Couldn't parse", "Could not decode the value", "Failed when parsing value", "Cannot convert")
"""How draccus begins what it says of a value that is not of its field's type."""

_NOT_THAT: Mapping[Any, str] = {
    int: "is no whole number",
    float: "is no number",
    bool: "is neither true nor false",
    dict: "is no mapping",
    list: "is no list",
    tuple: "is no list",
}


def encode(value: Any, annotation: Any = None) -> Any:
    """A configuration as plain data; choices carry their ``type`` when ``annotation`` is the registry's root."""
    return draccus.encode(value, annotation) if annotation is not None else draccus.encode(value)


def decode(config: type[C], data: Mapping[str, Any]) -> C:
    """Decode plain data into a configuration object.

    Raises:
        ConfigError: A value has the wrong type, a required field is missing, or the class refuses the combination.
    """
    missing = [f.name for f in fields_of(config).values() if f.default is MISSING and f.name not in data]
    if missing:
        field = fields_of(config)[missing[0]]
        how = field.name.upper() if field.positional else f"{field.option} VALUE"
        raise ConfigError(f"{field.name} is missing", None, f"give {how}{': ' + field.help if field.help else ''}")
    try:
        return draccus.decode(config, dict(data))
    except DecodingError as err:
        raise ConfigError(_words(config, data, err), ".".join(err.key_path) or None) from err
    except DraccusException as err:
        cause = err.__cause__
        if isinstance(cause, InterpError):
            raise cause from err
        raise ConfigError(str(cause or err).splitlines()[0]) from err
    except (TypeError, ValueError, KeyError, AttributeError) as err:
        raise ConfigError(f"the configuration cannot be read: {err}") from err


def _words(config: type, data: Mapping[str, Any], err: DecodingError) -> str:
    """What is wrong; where draccus says so of a type, in our words: its own speak of classes and of what it tried."""
    if err.message.startswith(_WRONG_TYPE):
        try:
            annotation, value = _odd_one_out(*_value_at(config, data, err.key_path))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            pass  # deeper than the types tell
        else:
            return f"{value!r} {_not_of(annotation)}"
    return err.message.replace("`", "'")


def _value_at(annotation: Any, value: Any, path: Sequence[str]) -> tuple[Any, Any]:
    """The type that a value deep in a configuration should have, and the value."""
    for key in path:
        base, root = strip_optional(annotation), choice_root(annotation)
        owner = base if root is None else root.get_choice_class(value["type"])
        if dataclasses.is_dataclass(owner):
            annotation = fields_of(typing.cast("type", owner))[key].annotation
        else:
            annotation = typing.get_args(base)[-1 if isinstance(value, Mapping) else 0]
        value = value[key] if isinstance(value, Mapping) else value[int(key)]
    return annotation, value


def _odd_one_out(annotation: Any, value: Any) -> tuple[Any, Any]:
    """Of a list the first element that is not of the elements' type; draccus names elements of some lists only."""
    arguments = typing.get_args(strip_optional(annotation))
    if not (isinstance(value, list) and arguments):
        return annotation, value
    odd = [item for item in typing.cast("list[Any]", value) if not _fits(arguments[0], item)]
    return (arguments[0], odd[0]) if odd else (annotation, value)


def _fits(annotation: Any, value: Any) -> bool:
    try:
        draccus.decode(annotation, value)
    except (DraccusException, TypeError, ValueError, KeyError, AttributeError):
        return False
    return True


def _not_of(annotation: Any) -> str:
    base = strip_optional(annotation)
    kind = typing.get_origin(base) or base
    if kind is typing.Literal:
        return f"is not one of {', '.join(map(str, typing.get_args(base)))}"
    if dataclasses.is_dataclass(base) and choice_root(base) is None:
        kind = dict
    return _NOT_THAT.get(kind, f"is no {type_name(annotation)}")
