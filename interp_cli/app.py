"""The command tree: methods that discovery found, the built-in commands, and plain commands of plugins."""

import importlib
import importlib.util
from typing import Any

import typer
from rich.markup import escape
from rich.text import Text
from typer.core import CompletionItem, TyperCommand, TyperGroup  # pyright: ignore[reportPrivateImportUsage]

from interp_cli import console
from interp_cli.help_pages import completion_help, group_help, options_section, page_text, plain_command_help, section
from interp_cli.stage_command import MethodGroup, StageCommand, method_command
from interp_registry.discovery import Plugins, find_plugins, loading
from interp_registry.errors import InterruptedRunError, UnknownNameError

__all__ = ["COMMANDS", "BuiltinCommand", "build_app", "command_problems"]

COMMANDS = {
    "launch": "Run any command on SLURM, other hosts, or this one.",
    "sweep": "Run a command for every point of a sweep.",
    "report": "Write one HTML page about one or several runs.",
    "watch": "Follow a run from another terminal.",
    "runs": "List, show, resume, repeat and remove runs.",
    "store": "Look after stored features: sizes, checks, repair.",
    "import": "Bring in features of other tools.",
    "export": "Write features for other tools.",
    "catalog": "Show model sets, data sets, experiments and choices that have a name.",
    "plugins": "List what is installed and what failed to load; write a plugin of your own.",
    "config": "Show and change the user's settings.",
    "doctor": "Say what is wrong with this installation, and what to do.",
    "cite": "Print the papers behind a method as BibTeX.",
}
"""Built-in commands -> one line. Each is the module of that name in `interp_cli.commands`, imported when it is called."""

_MODULES = {"import": "import_"}
_ROOT_HELP = "Look inside neural networks: extract representations, compare models, read activations, take them apart."


def _short(item: CompletionItem) -> CompletionItem:
    return CompletionItem(item.value, item.type, completion_help(item.help))


class BuiltinCommand(TyperCommand):
    """A plain typer command with this tool's help page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        formatter.write(page_text(plain_command_help(ctx.command_path, self, ctx)))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """Options, each with one short line."""
        return [_short(item) for item in super().shell_complete(ctx, incomplete)]


class BuiltinGroup(TyperGroup):
    """A group of plain typer commands with this tool's help page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        lines = {name: self.commands[name].get_short_help_str(120) for name in self.list_commands(ctx)}
        formatter.write(page_text(group_help(ctx.command_path, self.help or "", lines)))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """Commands and options, each with one short line."""
        return [_short(item) for item in super().shell_complete(ctx, incomplete)]


class RootGroup(BuiltinGroup):
    """The root: built-in commands are imported when they are named, so that the rest of the tool starts fast."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Methods first, then plain commands of plugins, then the built-in ones."""
        return [*super().list_commands(ctx), *(name for name in available_commands() if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, imported if it is a built-in one."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        return _builtin(cmd_name) if cmd_name in available_commands() else None

    def get_params(self, ctx: Any) -> Any:
        """The options; a flag that is not given is False, because typer loads pydantic to make that of None."""
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False
        return params

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names.

        Raises:
            UnknownNameError: There is none; similar names are suggested.
        """
        unknown = not args[0].startswith("-") and self.get_command(ctx, args[0]) is None
        if unknown and not ctx.resilient_parsing:  # a shell that completes wants no message
            raise UnknownNameError("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page without importing any command: methods, everything else, options."""
        lines = self._lines()
        methods = {name: lines.pop(name) for name in list(lines) if _is_method(self.commands.get(name))}
        head, text, *_ = group_help("interp", _ROOT_HELP, {})
        sections = [section(title, _rows(part)) for title, part in (("Methods", methods), ("Commands", lines))]
        hint = Text("interp COMMAND --help explains one command.", style="dim")
        parts = [head, text, *sections, options_section(self, ctx), hint]
        formatter.write(page_text([part for part in parts if part is not None]))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """Commands without importing them, and options."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        lines = {name: line for name, line in self._lines().items() if name.startswith(incomplete)}
        return [CompletionItem(name, help=completion_help(line)) for name, line in lines.items()]

    def _lines(self) -> dict[str, str]:
        lines = {name: command.get_short_help_str(120) for name, command in self.commands.items()}
        return lines | {name: COMMANDS[name] for name in available_commands() if name not in self.commands}


def _is_method(command: Any) -> bool:
    return isinstance(command, (MethodGroup, StageCommand))


def _rows(lines: dict[str, str]) -> list[tuple[str, str, str]]:
    return [(name, "", escape(line)) for name, line in lines.items()]


def available_commands() -> list[str]:
    """Names of the built-in commands."""
    return [name for name in COMMANDS if importlib.util.find_spec(_module(name)) is not None]


def _module(name: str) -> str:
    return f"interp_cli.commands.{_MODULES.get(name, name)}"


def _builtin(name: str) -> Any:
    module = importlib.import_module(_module(name))
    command = typer.main.get_command(module.app)
    command.name = name
    command.params = [p for p in command.params if p.name not in {"install_completion", "show_completion"}]
    return _styled(command)


def _styled(command: Any) -> Any:
    """Give a command (and all below it) this tool's help pages and the ``-h`` spelling."""
    command.context_settings = {**command.context_settings, "help_option_names": ["-h", "--help"]}
    command.rich_markup_mode = None
    if isinstance(command, TyperGroup):
        command.__class__ = type(command) if isinstance(command, BuiltinGroup) else BuiltinGroup
        command.commands = {name: _styled(inner) for name, inner in command.commands.items()}
    else:
        command.__class__ = BuiltinCommand
    return command


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        console.out().print(f"interp {version('interp-cli')}")
        raise typer.Exit(0)


def _root(
    version: bool = typer.Option(False, "--version", help="Show the version.", callback=_show_version, is_eager=True),
) -> None:
    """Options of the root itself."""


def build_app(plugins: Plugins | None = None) -> TyperGroup:
    """The whole command tree.

    Args:
        plugins: What discovery found; found now when left out.
    """
    plugins = plugins or find_plugins()
    app = typer.Typer(cls=RootGroup, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_root)
    taken = {*COMMANDS, *plugins.methods}
    for name, add in plugins.commands:
        _add_guarded(app, name, add, taken)
    root = typer.main.get_command(app)
    assert isinstance(root, RootGroup)  # noqa: S101 - typer.Typer(cls=RootGroup) makes one
    _styled(root)
    strangers = root.commands
    root.commands = {**{name: method_command(method) for name, method in plugins.methods.items()}, **strangers}
    root.help = _ROOT_HELP
    return root


def _names(app: typer.Typer) -> list[str]:
    commands = [c.name or getattr(c.callback, "__name__", "").replace("_", "-") for c in app.registered_commands]
    return commands + [
        str(g.name or (g.typer_instance.info.name if g.typer_instance else "")) for g in app.registered_groups
    ]


def _add_guarded(app: typer.Typer, name: str, add: Any, taken: set[str]) -> str | None:
    """Let a plugin add commands; what it added is taken back if it raises or takes a name that is taken."""
    commands, groups = list(app.registered_commands), list(app.registered_groups)
    before = _names(app)
    try:
        with loading(name):
            add(app=app)
    except InterruptedRunError:
        raise
    except BaseException as err:  # noqa: BLE001 - a stranger's code; the others must go on
        problem = f"{type(err).__name__}: {err}"
    else:
        new = _names(app)[len(before) :] if app.registered_commands[: len(commands)] == commands else []
        stolen = sorted((set(new) & taken) | {name for name in _names(app) if _names(app).count(name) > 1})
        problem = f"the command {stolen[0]!r} is taken" if stolen else None
    if problem is not None:
        app.registered_commands, app.registered_groups = commands, groups
    return problem


def command_problems(plugins: Plugins) -> dict[str, str]:
    """Plugins whose plain commands could not be added -> why."""
    app = typer.Typer()
    taken = {*COMMANDS, *plugins.methods}
    problems = {name: _add_guarded(app, name, add, taken) for name, add in plugins.commands}
    return {name: problem for name, problem in problems.items() if problem}
