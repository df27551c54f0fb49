"""A stage's help page, from its schema: arguments, options, nested choices (those of plugins included), examples."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from interp_cli.help_pages import page_text, reflowed, section, usage
from interp_cli.options import StageOptions
from interp_registry.choices import choice_names
from interp_registry.config_io import FieldSchema, choice_root, encode, fields_of
from interp_registry.config_io.schema import MISSING, element_choice_root, nested_class
from interp_registry.config_io.values import type_name
from interp_registry.contracts.method import Stage

__all__ = ["help_text", "stage_help"]

_SHOWN_CHOICES = 40
_KIND_WIDTH = 24


def help_text(path: str, stage: Stage[Any]) -> str:
    """The help page of a stage as text."""
    return page_text(stage_help(path, stage, {}))


def _default_text(schema: FieldSchema, prefix: str = "") -> str:
    if schema.default is MISSING:
        return "required"
    if nested_class(schema.annotation) is not None:
        return ""
    value = encode(schema.default, schema.annotation)
    if value is True:
        return "default: true" if prefix else f"default: on; --no-{schema.option[2:]} turns it off"
    if isinstance(value, Mapping):
        value = value.get("type", "")
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ",".join(str(v.get("type", v) if isinstance(v, Mapping) else v) for v in value)
    return "" if value is None or value is False or value == "" else f"default: {value}"


def _describe(schema: FieldSchema, prefix: str = "") -> str:
    notes: list[str] = []
    if _is_enumeration(schema) and len(type_name(schema.annotation)) > _KIND_WIDTH:
        notes.append("one of " + ", ".join(schema.values))
    nested = nested_class(schema.annotation)
    if nested is not None:
        names = [inner.option[2:] for inner in fields_of(nested).values()]
        notes.append(f"fields: {', '.join(names)}" if prefix else "fields below")
    default = _default_text(schema, prefix)
    if default:
        notes.append(default)
    suffix = f"[dim]\\[{escape('; '.join(notes))}][/]" if notes else ""
    return " ".join(part for part in (escape(schema.help.replace("``", "")), suffix) if part)


def _option_row(schema: FieldSchema, prefix: str = "") -> tuple[str, str, str]:
    name = f"{prefix}.{schema.option[2:]}" if prefix else ", ".join([*schema.flags, schema.option])
    kind = type_name(schema.annotation)
    shown = kind if _is_enumeration(schema) else kind.upper()
    if kind == "bool":
        shown = ""
    elif nested_class(schema.annotation) is not None:
        name, shown = f"{name}.FIELD", ""
    return name, shown if len(kind) <= _KIND_WIDTH else "VALUE", _describe(schema, prefix)


def _is_enumeration(schema: FieldSchema) -> bool:
    """Whether a field takes one of a few words, which are shown as they are typed."""
    roots = choice_root(schema.annotation), element_choice_root(schema.annotation)
    return bool(schema.values) and type_name(schema.annotation) != "bool" and roots == (None, None)


def _choices_section(schema: FieldSchema, chosen: str | None) -> list[Group]:
    """The names a choice field takes, and the fields of the one that is chosen; the fields of a group of settings."""
    nested = nested_class(schema.annotation)
    if nested is not None:
        listed = section(f"Fields of {schema.option}", _nested_rows(nested, schema))
        return [listed] if listed else []
    root = choice_root(schema.annotation) or element_choice_root(schema.annotation)
    if root is None:
        return []
    names = choice_names(root)
    sections: list[Group] = []
    rows = [(name, "", _first_line(root.get_choice_class(name).__doc__)) for name in names[:_SHOWN_CHOICES]]
    listed = section(f"{schema.option} takes", rows)
    if listed:
        sections.append(listed)
    for name in (chosen or "").split(","):
        if name in root.get_known_choices():
            listed = section(f"Options of {schema.option} {name}", _nested_rows(root.get_choice_class(name), schema))
            sections += [listed] if listed else []
    return sections


def _nested_rows(owner: type, schema: FieldSchema) -> list[tuple[str, str, str]]:
    """Rows of the fields of a group of settings, with the defaults that the stage gives them."""
    fields = [field for field in fields_of(owner).values() if not field.hidden]
    if isinstance(schema.default, owner):
        fields = [replace(field, default=getattr(schema.default, field.name)) for field in fields]
    return [_option_row(field, schema.option) for field in fields]


def _first_line(text: str | None) -> str:
    line = (text or "").strip().split("\n")[0]
    return "" if line.endswith(")") and "(" in line and ":" in line else escape(line)


def stage_help(path: str, stage: Stage[Any], given: Mapping[str, str | None]) -> list[Any]:
    """The help page of one stage.

    Args:
        path: The command, e.g. ``interp lens train``.
        stage: The stage.
        given: Dotted path -> text of what is on the line already; a choice made there shows that choice's options.
    """
    schemas = [schema for schema in fields_of(stage.config_type).values() if not schema.hidden]
    positional = [schema for schema in schemas if schema.positional]
    words = " ".join(_word(schema) for schema in positional)
    parts: list[Any] = [usage(" ".join(filter(None, [path, words, "[OPTIONS]"]))), reflowed(stage.help)]
    parts.append(section("Arguments", ((s.name.upper(), type_name(s.annotation), _describe(s)) for s in positional)))
    own = [_option_row(schema) for schema in schemas if not schema.positional]
    own += [(f"--{flag}", "", f"the same as --{target}") for flag, target in stage.flags.items()]
    parts.append(section("Options", own))
    for schema in schemas:
        chosen = given.get(schema.name) or given.get(f"{schema.name}.type") or _default_choice(schema)
        parts += _choices_section(schema, chosen)
    common = [
        s for s in fields_of(StageOptions).values() if not s.hidden and s.name not in fields_of(stage.config_type)
    ]
    rows = [*(_option_row(schema) for schema in common), ("-h, --help", "", "show this page")]
    parts.append(section("Options of every command", rows))
    parts.append(_examples(stage.examples))
    return [part for part in parts if part is not None]


def _word(schema: FieldSchema) -> str:
    name = schema.name.upper()
    many = "..." if type_name(schema.annotation).endswith(",...") else ""
    return f"{name}{many}" if schema.default is MISSING else f"[{name}{many}]"


def _default_choice(schema: FieldSchema) -> str | None:
    if schema.default is MISSING:
        return None
    value = encode(schema.default, schema.annotation)
    if isinstance(value, Mapping):
        return str(value.get("type", "")) or None
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return ",".join(str(item.get("type", "")) for item in value)
    return None


def _examples(lines: Sequence[str]) -> Group | None:
    if not lines:
        return None
    return Group(Text("Examples", style="bold"), *(Padding(Text(f"interp {line}"), (0, 0, 0, 2)) for line in lines))
