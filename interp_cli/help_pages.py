"""Help rendered from the schema: a stage's arguments, options, nested choices (those of plugins included), examples.

typer's own rich help imports a Markdown and a syntax highlighter that no help page here needs; that is half of its start-up cost.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from interp_cli.options import StageOptions
from interp_registry.choices import choice_names
from interp_registry.config_io import FieldSchema, choice_root, encode, fields_of
from interp_registry.config_io.schema import MISSING, element_choice_root
from interp_registry.config_io.values import type_name
from interp_registry.contracts.method import Method, Stage

__all__ = ["group_help", "plain_command_help", "render", "stage_help"]

_SHOWN_CHOICES = 40


def render(console: Console, *parts: Any) -> None:
    """Print the parts of a help page with an empty line between them."""
    for part in parts:
        console.print(part)
        console.print()


def _section(title: str, rows: Iterable[tuple[str, str, str]]) -> Group | None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    rows = list(rows)
    for name, kind, text in rows:
        table.add_row(Text(name, style="cyan"), kind, text)
    return Group(Text(title, style="bold"), Padding(table, (0, 0, 0, 2))) if rows else None


def _usage(text: str) -> Text:
    return Text.assemble(("usage ", "bold"), text)


def _default_text(schema: FieldSchema) -> str:
    if schema.default is MISSING:
        return "required"
    value = encode(schema.default, schema.annotation)
    if isinstance(value, Mapping):
        value = value.get("type", "")
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ",".join(str(v.get("type", v) if isinstance(v, Mapping) else v) for v in value)
    return "" if value in (None, "", False) else f"default: {value}"


def _describe(schema: FieldSchema) -> str:
    values = [] if type_name(schema.annotation) == "bool" else schema.values
    notes: list[str] = []
    if values and choice_root(schema.annotation) is None and element_choice_root(schema.annotation) is None:
        notes.append("one of " + ", ".join(values))
    default = _default_text(schema)
    if default:
        notes.append(default)
    suffix = f"[dim]\\[{escape('; '.join(notes))}][/]" if notes else ""
    return " ".join(part for part in (escape(schema.help), suffix) if part)


def _option_row(schema: FieldSchema, prefix: str = "") -> tuple[str, str, str]:
    name = f"--{prefix}.{schema.name}" if prefix else ", ".join([*schema.flags, schema.option])
    kind = type_name(schema.annotation)
    return name, "" if kind == "bool" else kind.upper() if len(kind) <= 24 else "VALUE", _describe(schema)


def _choices_section(schema: FieldSchema, chosen: str | None) -> list[Group]:
    """The names a choice field takes, and the fields of the one that is chosen."""
    root = choice_root(schema.annotation) or element_choice_root(schema.annotation)
    if root is None:
        return []
    names = choice_names(root)
    sections: list[Group] = []
    rows = [(name, "", _first_line(root.get_choice_class(name).__doc__)) for name in names[:_SHOWN_CHOICES]]
    listed = _section(f"{schema.option} takes", rows)
    if listed:
        sections.append(listed)
    for name in (chosen or "").split(","):
        if name in root.get_known_choices():
            fields = fields_of(root.get_choice_class(name)).values()
            nested = _section(f"Options of {schema.option} {name}", (_option_row(f, schema.name) for f in fields))
            sections += [nested] if nested else []
    return sections


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
    schemas = [schema for schema in fields_of(stage.config).values() if not schema.hidden]
    positional = [schema for schema in schemas if schema.positional]
    words = " ".join(_word(schema) for schema in positional)
    parts: list[Any] = [_usage(" ".join(filter(None, [path, words, "[OPTIONS]"]))), Text(stage.help.strip())]
    parts.append(_section("Arguments", ((s.name.upper(), type_name(s.annotation), _describe(s)) for s in positional)))
    own = [_option_row(schema) for schema in schemas if not schema.positional]
    own += [(f"--{flag}", "", f"the same as --{target}") for flag, target in stage.flags.items()]
    parts.append(_section("Options", own))
    for schema in schemas:
        chosen = given.get(schema.name) or given.get(f"{schema.name}.type") or _default_choice(schema)
        parts += _choices_section(schema, chosen)
    common = [s for s in fields_of(StageOptions).values() if not s.hidden and s.name not in fields_of(stage.config)]
    rows = [*(_option_row(schema) for schema in common), ("-h, --help", "", "show this page")]
    parts.append(_section("Options of every command", rows))
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


def group_help(path: str, text: str, commands: Mapping[str, str], method: Method | None = None) -> list[Any]:
    """The help page of a group of commands.

    Args:
        path: The command.
        text: What the group is for.
        commands: Name -> one line, in the order shown.
        method: The method, when the group is one; its default stage is named.
    """
    rows = [(name, "", escape(line)) for name, line in commands.items()]
    default = method.default_stage if method else None
    usage = _usage(f"{path} COMMAND [OPTIONS]" + (f"\n      {path} ... [OPTIONS]" if default else ""))
    note = Text(f"Without a command it runs `{default.name}`: {default.help.splitlines()[0]}") if default else None
    hint = Text(f"{path} COMMAND --help explains one command.", style="dim")
    return [part for part in (usage, Text(text.strip()), note, _section("Commands", rows), hint) if part is not None]


def plain_command_help(path: str, command: Any, context: Any) -> list[Any]:
    """The help page of a plain typer command (one that is no method)."""
    arguments, options = [], []
    for param in command.get_params(context):
        record = None if getattr(param, "hidden", False) else param.get_help_record(context)
        if param.param_type_name == "argument":
            word = param.name.upper() + ("..." if param.nargs == -1 else "")
            name = word if param.required else f"[{word}]"
            arguments.append((name, "", escape(getattr(param, "help", None) or "")))
        elif record:
            options.append((record[0].split("  ")[0], "", escape(record[1])))
    words = " ".join(name for name, _, _ in arguments)
    parts = [_usage(" ".join(filter(None, [path, words, "[OPTIONS]"]))), Text((command.help or "").strip())]
    sections = [_section("Arguments", arguments), _section("Options", options)]
    return [*parts, *(section for section in sections if section is not None)]
