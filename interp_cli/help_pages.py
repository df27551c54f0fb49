"""Help pages: how they look, and those of groups and of plain typer commands. A stage's own page is in `stage_help`.

typer's own rich help imports a Markdown and a syntax highlighter that no help page here needs; that is half of its start-up cost.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from interp_cli import console
from interp_registry.contracts.method import Stage

__all__ = [
    "completion_help",
    "group_help",
    "options_section",
    "page_text",
    "plain_command_help",
    "reflowed",
    "section",
    "show_page",
    "usage",
]


_COMPLETION_WIDTH = 60
_KIND_WIDTH = 24
_KINDS = {"str": "TEXT", "INTEGER": "INT"}
_OPTION = re.compile(r"(?P<names>(?:(?:--?[\w-]+|/)[ ,]*)+)(?P<kind>.*)")


def completion_help(text: str | None) -> str:
    """The first clause of a help text on one short line, as a shell shows it beside a word that it offers."""
    line = " ".join((text or "").split()).split(";")[0]
    return line if len(line) <= _COMPLETION_WIDTH else line[:_COMPLETION_WIDTH].rsplit(" ", 1)[0] + " ..."


def reflowed(text: str) -> Text:
    """A help text whose paragraphs fill the terminal, wherever their lines end in the source; lists stay as they are."""
    paragraphs = text.strip().split("\n\n")
    is_list = [any(line.startswith((" ", "-", "*")) for line in paragraph.split("\n")) for paragraph in paragraphs]
    return Text("\n\n".join(p if kept else " ".join(p.split()) for p, kept in zip(paragraphs, is_list, strict=True)))


def show_page(parts: Sequence[Any]) -> None:
    """Print the parts of a help page with an empty line between them."""
    console.out().file.write(page_text(parts) + "\n")


def page_text(parts: Sequence[Any]) -> str:
    """The same as text, without blanks at the ends of lines."""
    printer = console.out()
    with printer.capture() as captured:
        for part in parts:
            printer.print(part)
            printer.print()
    return "\n".join(line.rstrip() for line in captured.get().rstrip().split("\n"))


def section(title: str, rows: Iterable[tuple[str, str, str]]) -> Group | None:
    """A titled list of rows (name, kind, text); None when there is no row."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    rows = list(rows)
    for name, kind, text in rows:
        table.add_row(Text(name, style="cyan"), kind, text)
    return Group(Text(title, style="bold"), Padding(table, (0, 0, 0, 2))) if rows else None


def usage(text: str) -> Text:
    """The usage line."""
    return Text.assemble(("usage ", "bold"), text)


def group_help(path: str, text: str, commands: Mapping[str, str], default: Stage[Any] | None = None) -> list[Any]:
    """The help page of a group of commands.

    Args:
        path: The command.
        text: What the group is for.
        commands: Name -> one line, in the order shown.
        default: The stage that runs when none is named, if the group is a method that has one.
    """
    rows = [(name, "", escape(line)) for name, line in commands.items()]
    line = usage(f"{path} COMMAND [OPTIONS]" + (f"\n      {path} ... [OPTIONS]" if default else ""))
    note = Text(f"Without a command it runs `{default.name}`: {default.help.splitlines()[0]}") if default else None
    hint = Text(f"{path} COMMAND --help explains one command.", style="dim")
    return [part for part in (line, reflowed(text), note, section("Commands", rows), hint) if part is not None]


def plain_command_help(path: str, command: Any, context: Any) -> list[Any]:
    """The help page of a plain typer command (one that is no method)."""
    arguments: list[tuple[str, str, str]] = []
    for param in command.get_params(context):
        if param.param_type_name == "argument":
            word = param.name.upper() + ("..." if param.nargs == -1 else "")
            arguments.append((word if param.required else f"[{word}]", "", escape(getattr(param, "help", None) or "")))
    words = " ".join(name for name, _, _ in arguments)
    rest = "-- COMMAND ..." if command.context_settings.get("allow_extra_args") else ""
    parts = [usage(" ".join(filter(None, [path, words, "[OPTIONS]", rest]))), reflowed(command.help or "")]
    sections = [section("Arguments", arguments), options_section(command, context)]
    return [*parts, *(part for part in sections if part is not None)]


def options_section(command: Any, context: Any) -> Group | None:
    """The options of a plain typer command or group, with the words for kinds of values that the pages of stages have."""
    records = [
        param.get_help_record(context)
        for param in command.get_params(context)
        if param.param_type_name != "argument" and not getattr(param, "hidden", False)
    ]
    return section("Options", (_option_row(*record) for record in records if record))


def _option_row(words: str, text: str) -> tuple[str, str, str]:
    """Names, kind of value and text; versions of typer write "<int range>" or "INTEGER RANGE"."""
    found = _OPTION.match(words.split("  ", maxsplit=1)[0])
    assert found is not None  # noqa: S101 - every option has a name
    name, kind = found["names"].strip(), found["kind"].strip("<>").removeprefix("list").strip("[]")
    kind = re.sub(" range$", "", kind, flags=re.IGNORECASE)
    notes = text.replace("  [", " [")
    if "|" not in kind:
        return name, _KINDS.get(kind, kind.upper()), escape(notes)
    if len(kind) <= _KIND_WIDTH:
        return name, kind, escape(notes)
    return name, "VALUE", escape(f"{notes} [one of {kind.replace('|', ', ')}]")
