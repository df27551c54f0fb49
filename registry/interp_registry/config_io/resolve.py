"""Merge defaults, files and command-line options into one dictionary, remember who set what, and decode it once."""

import dataclasses
import fnmatch
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import draccus

from interp_registry.choices import choice_names
from interp_registry.config_io.decoding import decode, encode
from interp_registry.config_io.schema import (
    MISSING,
    FieldSchema,
    choice_root,
    element_choice_root,
    fields_of,
    strip_optional,
)
from interp_registry.config_io.values import from_text
from interp_registry.errors import ConfigError, UnknownNameError, UsageError

__all__ = ["Override", "Resolved", "resolve"]

C = TypeVar("C")
Origins = dict[str, str]


@dataclass(frozen=True)
class Override:
    """One option of the command line.

    Attributes:
        path: Dotted path of the field, e.g. ``model.dtype``.
        text: What was typed, or None for a bare flag.
        source: How the user wrote it, for messages and provenance.
    """

    path: str
    text: str | None
    source: str


@dataclass(frozen=True)
class Resolved(Generic[C]):
    """A configuration and where each of its values came from.

    Attributes:
        config: The decoded configuration object.
        data: The same as a plain dictionary.
        origins: Dotted path -> "default", a file's name, or the option as typed.
    """

    config: C
    data: dict[str, Any]
    origins: Origins


def resolve(
    config: type[C],
    layers: Sequence[tuple[str, Mapping[str, Any]]] = (),
    overrides: Sequence[Override] = (),
    *,
    trusted: bool = False,
) -> Resolved[C]:
    """Build a configuration from its defaults, files and options; later layers win.

    Args:
        config: The configuration class.
        layers: Pairs (name, mapping), lowest precedence first.
        overrides: Options; those that choose a ``type`` are applied first, so their order on the line is of no matter.
        trusted: Whether the layers may set what only a command line may (``trust_remote_code``).

    Raises:
        UsageError: One or several values are wrong; the message lists them all.
    """
    data = _defaults(config)
    origins: Origins = {}
    problems: list[UsageError] = []

    def attempt(action: Callable[[], None]) -> None:
        try:
            action()
        except UsageError as err:
            problems.append(err)

    for source, layer in layers:
        for key, value in layer.items():
            attempt(lambda k=key, v=value, s=source: _overlay(config, data, {k: v}, _Place("", s, origins, trusted)))
    ordered = sorted(overrides, key=lambda o: (not _chooses_type(config, o.path), o.path.count(".")))
    for override in ordered:
        attempt(lambda o=override: _apply(config, data, o.path.split("."), _Place("", o.source, origins), o.text))
    _raise_all(problems)
    return Resolved(decode(config, data), data, origins)


def _raise_all(problems: list[UsageError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise UsageError("\n".join([f"{len(problems)} settings are wrong", *(f"  {p}" for p in problems)]))


@dataclass(frozen=True)
class _Place:
    """Where in the configuration a value is being set, by whom, and the record of who set what."""

    path: str
    source: str
    origins: Origins
    trusted: bool = True

    def below(self, name: str) -> "_Place":
        return dataclasses.replace(self, path=f"{self.path}.{name}" if self.path else name)

    def note(self) -> None:
        self.origins[self.path] = self.source


def _chooses_type(config: type, path: str) -> bool:
    segments = path.split(".")
    if segments[-1] == "type":
        return True
    field = fields_of(config).get(segments[0].replace("-", "_"))
    return len(segments) == 1 and field is not None and bool(choice_root(field.annotation) or _is_choices(field))


def _is_choices(field: FieldSchema) -> bool:
    return element_choice_root(field.annotation) is not None


def _defaults(config: type) -> dict[str, Any]:
    return {
        field.name: encode(field.default, field.annotation)
        for field in fields_of(config).values()
        if field.default is not MISSING
    }


def _field(config: type, name: str, place: _Place, root: type[draccus.ChoiceRegistry] | None = None) -> FieldSchema:
    schemas = fields_of(config)
    key = name.replace("-", "_")
    if key in schemas:
        return schemas[key]
    owners = [] if root is None else [n for n in choice_names(root) if key in fields_of(root.get_choice_class(n))]
    if owners:
        path = place.path or "type"
        raise ConfigError(
            f"no such field here ({place.source})", f"{path}.{key}", f"it belongs to {path}.type={owners[0]}"
        )
    raise UnknownNameError("setting", place.below(name).path, _qualified(schemas, place.path), place.source)


def _qualified(schemas: Mapping[str, FieldSchema], prefix: str) -> list[str]:
    return [f"{prefix}.{name}" if prefix else name for name in schemas]


def _overlay(
    config: type,
    data: dict[str, Any],
    layer: Mapping[str, Any],
    place: _Place,
    root: type[draccus.ChoiceRegistry] | None = None,
) -> None:
    """Merge a mapping of a file into ``data`` in place."""
    for key, value in layer.items():
        field = _field(config, str(key), place, root)
        here = place.below(field.name)
        choice, elements = choice_root(field.annotation), element_choice_root(field.annotation)
        nested = strip_optional(field.annotation)
        if choice is not None and value is not None:
            data[field.name] = _overlay_choice(choice, data.get(field.name), value, here)
        elif elements is not None and value is not None:
            data[field.name] = _overlay_choices(elements, value, here)
        elif dataclasses.is_dataclass(nested) and isinstance(nested, type) and isinstance(value, Mapping):
            data[field.name] = _fields_held(data.get(field.name), here) or _defaults(nested)
            _overlay(nested, data[field.name], value, here)
        else:
            _require_said(field, value, here)
            data[field.name] = value
            here.note()


def _require_said(field: FieldSchema, value: Any, place: _Place) -> None:
    """Refuse a file that switches on what only the command line may."""
    if field.command_line_only and value and not place.trusted:
        raise ConfigError(
            f"{place.source} asks for it, which only a command line may",
            place.path,
            f"if you trust it, add {field.option}",
        )


def _overlay_choice(root: type[draccus.ChoiceRegistry], current: Any, value: Any, place: _Place) -> dict[str, Any]:
    """Merge into a choice; another ``type`` replaces the whole of it."""
    if isinstance(value, str):
        return _overlay_words(root, current, value, place)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{value!r} is no choice", place.path, "write a name, or a mapping with `type:`")
    before = current.get("type") if isinstance(current, Mapping) else None
    name = value.get("type", before) or root.default_choice_name()
    if name is None:
        raise ConfigError("the type is missing", place.path, f"set {place.path}.type to one of {_some(root)}")
    chosen = _choice_class(root, str(name), place)
    merged = dict(current) if name == before and isinstance(current, Mapping) else {"type": name, **_defaults(chosen)}
    if name != before:
        place.below("type").note()
    _overlay(chosen, merged, {k: v for k, v in value.items() if k != "type"}, place, root)
    return merged


def _overlay_choices(root: type[draccus.ChoiceRegistry], value: Any, place: _Place) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise ConfigError(f"{value!r} is no list", place.path, f"write a list of {_some(root)}")
    place.note()
    return [_overlay_choice(root, None, item, place.below(str(i))) for i, item in enumerate(value)]


def _overlay_words(root: type[draccus.ChoiceRegistry], current: Any, text: str, place: _Place) -> dict[str, Any]:
    """Merge a choice that is written as a name, or as what a choice claims (a path), with options behind a colon."""
    claimed = _claimed(root, text)
    name, colon, rest = (text, "", "") if claimed else text.partition(":")
    claimed = claimed or _claimed(root, name)
    options = [part.partition("=") for part in rest.split(",")] if colon else []
    if claimed is None or not all(equals and key.strip() for key, equals, _ in options):
        claimed, options = {"type": text}, []
    merged = _overlay_choice(root, current, claimed, place)
    for key, _, value in options:
        _apply(_choice_class(root, merged["type"], place), merged, [key.strip()], place, value.strip(), root)
    return merged


def _claimed(root: type[draccus.ChoiceRegistry], text: str) -> dict[str, Any] | None:
    """The choice of that name, or the first one that claims the text, with the fields that it then has."""
    names = choice_names(root)
    if text in names:
        return {"type": text}
    for name in names:
        claim = getattr(root.get_choice_class(name), "claim", None)
        fields = claim(text) if claim else None
        if fields is not None:
            return {"type": name, **fields}
    return None


def _some(root: type[draccus.ChoiceRegistry]) -> str:
    names = choice_names(root)
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def _choice_class(root: type[draccus.ChoiceRegistry], name: str, place: _Place) -> type:
    try:
        return root.get_choice_class(name)
    except KeyError:
        kind = f"{place.path.rpartition('.')[2] if not place.path[-1:].isdigit() else place.path} type"
        raise UnknownNameError(kind, name, choice_names(root), place.source) from None


def _apply(
    config: type,
    data: dict[str, Any],
    segments: list[str],
    place: _Place,
    text: str | None,
    root: type[draccus.ChoiceRegistry] | None = None,
) -> None:
    """Set one dotted path from the command line."""
    field = _field(config, segments[0], place, root)
    here, rest = place.below(field.name), segments[1:]
    choice, elements = choice_root(field.annotation), element_choice_root(field.annotation)
    nested = strip_optional(field.annotation)
    if choice is not None:
        data[field.name] = _apply_choice(choice, data.get(field.name), rest, here, text)
    elif elements is not None:
        data[field.name] = _apply_choices(elements, data.get(field.name) or [], rest, here, text)
    elif rest and dataclasses.is_dataclass(nested) and isinstance(nested, type):
        data[field.name] = _fields_held(data.get(field.name), here) or _defaults(nested)
        _apply(nested, data[field.name], rest, here, text)
    elif rest and typing.get_origin(nested) is dict:
        data[field.name] = _set_in_dict(data.get(field.name), rest, nested, here, text)
    elif rest:
        raise ConfigError(f"it has no field {'.'.join(rest)!r} ({place.source})", here.path)
    else:
        data[field.name] = _value(text, field.annotation, here)
        here.note()


def _fields_held(value: Any, place: _Place) -> dict[str, Any]:
    """The fields that an earlier file or option set in one place; none when it was not set."""
    if value is None or isinstance(value, Mapping):
        return dict(value or {})
    raise ConfigError(f"{value!r} has no fields that {place.source} could change", place.path, "write a mapping")


def _value(text: str | None, annotation: Any, place: _Place) -> Any:
    if text is None:
        if strip_optional(annotation) is bool:
            return True
        raise ConfigError(f"a value is missing after {place.source}", place.path)
    return from_text(text, annotation, place.path)


def _apply_choice(
    root: type[draccus.ChoiceRegistry], current: Any, rest: list[str], place: _Place, text: str | None
) -> Any:
    if not rest or rest == ["type"]:
        value = _value(text, typing.Optional[root], place)  # noqa: UP045 - a type object, not an annotation
        return None if value is None else _overlay_choice(root, current, value, place)
    if current is None:
        name = root.default_choice_name()
        if name is None:
            raise ConfigError(f"the type is missing ({place.source})", place.path, f"set {place.path}.type first")
        current = _overlay_choice(root, None, name, place)
    current = _fields_held(current, place)
    _apply(_choice_class(root, current["type"], place), current, rest, place, text, root)
    return current


def _apply_choices(
    root: type[draccus.ChoiceRegistry], current: list[Any], rest: list[str], place: _Place, text: str | None
) -> list[Any]:
    """Set a list of choices by names, globs and ``all``, or a field of one element (``metric.0.topk``) or of all that have it."""
    if not rest:
        return [_overlay_choice(root, None, v, place) for v in _choice_items(root, text, place)]
    items = [dict(item) for item in current]
    if rest[0].isdigit():
        index = int(rest[0])
        if index >= len(items):
            raise ConfigError(f"there is no element {index}, only {len(items)} ({place.source})", place.path)
        items[index] = _apply_choice(root, items[index], rest[1:], place.below(rest[0]), text)
        return items
    having = [i for i in items if rest[0].replace("-", "_") in fields_of(_choice_class(root, i["type"], place))]
    if not having:
        target = items[0]["type"] if items else root.default_choice_name()
        if target is None:
            raise ConfigError(f"nothing is chosen yet ({place.source})", place.path, f"choose one of {_some(root)}")
        _field(_choice_class(root, target, place), rest[0], place, root)
    for item in having:
        _apply(_choice_class(root, item["type"], place), item, rest, place, text, root)
    return items


def _choice_items(root: type[draccus.ChoiceRegistry], text: str | None, place: _Place) -> list[Any]:
    if text is None:
        raise ConfigError(f"a value is missing after {place.source}", place.path)
    if text.lstrip().startswith(("[", "{")):
        value = from_text(text, list[Any], place.path)
        return value if isinstance(value, list) else [value]
    items: list[Any] = []
    for name in _names(text, choice_names(root)):
        pattern = "*" if name == "all" and name not in choice_names(root) else name
        matches = fnmatch.filter(choice_names(root), pattern) if set(pattern) & set("*?[") else [name]
        if not matches:
            raise UnknownNameError(place.path, name, choice_names(root), place.source)
        items += [match for match in matches if match not in items]
    return items


def _names(text: str, known: Sequence[str]) -> list[str]:
    """Names at commas; ``key=value`` belongs to the name before it when that has a colon: ``photos:captions=a.csv,text=b``."""
    names: list[str] = []
    for part in (part.strip() for part in text.split(",") if part.strip()):
        if names and ":" in names[-1] and "=" in part and ":" not in part and part not in known:
            names[-1] += f",{part}"
        else:
            names.append(part)
    return names


def _set_in_dict(current: Any, rest: list[str], annotation: Any, place: _Place, text: str | None) -> dict[str, Any]:
    arguments = typing.get_args(annotation)
    element = arguments[1] if len(arguments) == 2 else Any
    merged = _fields_held(current, place)
    if len(rest) == 1:
        merged[rest[0]] = _value(text if text is not None else "true", element, place.below(rest[0]))
        place.below(rest[0]).note()
    else:
        merged[rest[0]] = _set_in_dict(merged.get(rest[0]), rest[1:], element, place.below(rest[0]), text)
    return merged
