"""Write `docs/commands/`: the help page of every command that ships with the tool. A test compares; `make pages` writes."""

import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "commands"
_COLUMNS = "110"


def pages() -> dict[str, str]:
    """Name of a root command -> its page: its own help and that of each command below it."""
    os.environ.update(COLUMNS=_COLUMNS, INTERP_PLUGINS="", NO_COLOR="1")
    from interp_cli.app import build_app
    from interp_registry.discovery import discover

    root = build_app(discover())
    names = root.list_commands(None)
    lines = [f"| [`interp {name}`]({name}.md) | {_first_line(root.get_command(None, name))} |" for name in names]
    index = "# All commands\n\nThe help page of every command, as `--help` shows it.\n\n| command | what it does |\n|---|---|\n"
    found = {"index": index + "\n".join(lines) + "\n"}
    for name in names:
        sections = [_section(path, command) for path, command in _all(f"interp {name}", root.get_command(None, name))]
        found[name] = f"# `interp {name}`\n\n" + "\n".join(sections)
    return found


def _all(path: str, command: Any) -> list[tuple[str, Any]]:
    below = getattr(command, "commands", {})
    return [(path, command), *(pair for name, inner in below.items() for pair in _all(f"{path} {name}", inner))]


def _section(path: str, command: Any) -> str:
    return f"## {path}\n\n```text\n{_help(path, command)}\n```\n"


def _help(path: str, command: Any) -> str:
    from interp_cli.stage_command import MethodGroup, StageCommand
    from interp_cli.stage_help import help_text

    if isinstance(command, StageCommand):
        return help_text(path, command.stage).rstrip()
    if isinstance(command, MethodGroup):
        from interp_cli.help_pages import group_help, page_text

        lines = {stage.name: stage.help.strip().splitlines()[0] for stage in command.method.stages}
        return page_text(group_help(path, command.method.help, lines, command.method.default_stage)).rstrip()
    with command.make_context(path, [], resilient_parsing=True) as context:
        return str(command.get_help(context)).rstrip()


def _first_line(command: Any) -> str:
    line = (command.help or "").strip().splitlines()[0]
    return line.replace("|", "\\|")


def main() -> None:
    """Write the pages and remove those of commands that are gone."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.stem not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
