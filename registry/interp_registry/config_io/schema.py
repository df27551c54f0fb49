"""What a configuration class offers: fields, types, defaults, help texts and choices, read from the dataclass itself."""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import draccus
from draccus.utils import is_choice_type

from interp_registry.choices import choice_names

__all__ = [
    "MISSING",
    "FieldSchema",
    "choice_root",
    "element_choice_root",
    "fields_of",
    "help_texts",
    "nested_class",
    "strip_optional",
]

MISSING = dataclasses.MISSING


@dataclass(frozen=True)
class FieldSchema:
    """One field of a configuration class.

    Attributes:
        name: Python name.
        annotation: Its type, resolved.
        default: Default value, or ``MISSING`` when the field is required.
        owner: The class that it is a field of.
        positional: Whether the command line takes it without a dash.
        flags: Further spellings such as ``-b``.
        hidden: Whether help leaves it out.
        bare: Value that the option stands for when it is given without one.
        complete: Where completion finds names: a kind of choice ("metric"), the import path of a function that lists them
            ("package.module:names"), "runs", "launches", or a section of the catalog ("modelsets", "experiments/spd"); several
            are separated by blanks.
        command_line_only: Whether a file that sets it is refused: what a file asks for here, its reader must say.
    """

    name: str
    annotation: Any
    default: Any
    owner: type | None = None
    positional: bool = False
    flags: tuple[str, ...] = ()
    hidden: bool = False
    bare: str | None = None
    complete: str | None = None
    command_line_only: bool = False

    @property
    def help(self) -> str:
        """One line of help: the string below the field in its class."""
        return help_texts(self.owner).get(self.name, "") if self.owner else ""

    @property
    def option(self) -> str:
        """Spelling on the command line, e.g. ``--batch-size``."""
        return "--" + self.name.replace("_", "-")

    @property
    def values(self) -> list[str]:
        """The values it can take, when they can be listed: choices, literals, booleans."""
        root = choice_root(self.annotation) or element_choice_root(self.annotation)
        if root is not None:
            return choice_names(root)
        base = strip_optional(self.annotation)
        if typing.get_origin(base) is typing.Literal:
            return [str(v) for v in typing.get_args(base)]
        return ["true", "false"] if base is bool else []


def strip_optional(annotation: Any) -> Any:
    """``X`` of ``X | None``; anything else unchanged."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(annotation) if a is not type(None)]
        if len(rest) == 1:
            return rest[0]
    if typing.get_origin(annotation) is typing.Annotated:
        return typing.get_args(annotation)[0]
    return annotation


def choice_root(annotation: Any) -> type[draccus.ChoiceRegistry] | None:
    """The choice registry that a field of this type takes its ``type`` from, if it is such a field."""
    base = strip_optional(annotation)
    return base if isinstance(base, type) and is_choice_type(base) else None


def nested_class(annotation: Any) -> type | None:
    """The class of a field that is a group of settings: a dataclass that is no choice."""
    base = strip_optional(annotation)
    return base if isinstance(base, type) and dataclasses.is_dataclass(base) and choice_root(base) is None else None


def element_choice_root(annotation: Any) -> type[draccus.ChoiceRegistry] | None:
    """The choice registry of the elements, if the field is a list of choices."""
    base = strip_optional(annotation)
    if typing.get_origin(base) in (list, tuple):
        arguments = typing.get_args(base)
        return choice_root(arguments[0]) if arguments else None
    return None


@functools.lru_cache(maxsize=512)
def fields_of(config: type) -> Mapping[str, FieldSchema]:
    """Fields of a configuration class by name, inherited ones first."""
    hints = typing.get_type_hints(config, include_extras=True)
    schemas: dict[str, FieldSchema] = {}
    for field in dataclasses.fields(config):
        metadata = field.metadata
        schemas[field.name] = FieldSchema(
            name=field.name,
            annotation=hints[field.name],
            default=_default(field),
            owner=config,
            positional=bool(metadata.get("positional", False)),
            flags=tuple(metadata.get("flags", ())),
            hidden=bool(metadata.get("hidden", False)),
            bare=metadata.get("bare"),
            complete=metadata.get("complete"),
            command_line_only=bool(metadata.get("command_line_only", False)),
        )
    return types.MappingProxyType(schemas)


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def help_texts(config: type) -> dict[str, str]:
    """Help of each field: the string below it in the source, of the nearest class that has one."""
    texts: dict[str, str] = {}
    for klass in reversed(config.__mro__):
        if dataclasses.is_dataclass(klass):
            texts.update(_own_help_texts(klass))
    return texts


@functools.lru_cache(maxsize=512)
def _own_help_texts(klass: type) -> dict[str, str]:
    import ast  # only help pages need the sources
    import inspect
    import itertools
    import textwrap

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(klass)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    texts: dict[str, str] = {}
    for statement, following in itertools.pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        value = following.value if isinstance(following, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            texts[statement.target.id] = " ".join(value.value.split())
    return texts
