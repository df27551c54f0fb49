"""The one adapter from a stage to a typer command: command line -> configuration -> execution -> what is shown."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import CompletionItem, TyperCommand, TyperGroup  # pyright: ignore[reportPrivateImportUsage]

from interp_cli import arguments, console, help_pages
from interp_cli.options import StageOptions
from interp_registry.config_io import Resolved, read_layers, resolve
from interp_registry.contracts.method import Method, Stage
from interp_registry.errors import UsageError

__all__ = ["MethodGroup", "StageCommand", "method_command", "resolve_stage"]


class StageCommand(TyperCommand):
    """A typer command made of a stage. All parsing is directed by the schema of its configuration."""

    def __init__(self, method: Method, stage: Stage[Any], name: str) -> None:
        """Make the command ``name`` of ``stage``."""
        super().__init__(name, help=stage.help, rich_markup_mode=None, add_help_option=False)
        self.method = method
        self.stage = stage

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words as they are; they are read by :meth:`invoke`, or by completion."""
        ctx.meta["interp.words"] = list(args)
        return []

    def invoke(self, ctx: Any) -> int:
        """Read the words, resolve the configuration, run the stage; the exit code."""
        words: list[str] = ctx.meta["interp.words"]
        if any(word in {"-h", "--help"} for word in words):
            self._show_help(ctx.command_path, words)
            return 0
        resolved, options = resolve_stage(self.stage, words)
        console.setup_logging(options.debug, options.quiet)
        if options.debug:
            os.environ["INTERP_DEBUG"] = "1"
        return _carry_out(self.method, self.stage, resolved, options, words)

    def _show_help(self, path: str, words: Sequence[str]) -> None:
        try:
            given = arguments.lookup(arguments.parse(words, self.stage).settings)
        except UsageError:
            given = {}
        help_pages.render(console.out(), *help_pages.stage_help(path, self.stage, given))

    def get_help(self, ctx: Any) -> str:
        """The help page as text."""
        printer = console.out()
        with printer.capture() as captured:
            help_pages.render(printer, *help_pages.stage_help(ctx.command_path, self.stage, {}))
        return captured.get()

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """Options, dotted fields of the chosen types, and the values that can be listed."""
        from interp_cli.completion import complete

        words = ctx.meta.get("interp.words", [])
        return [CompletionItem(value, help=text) for value, text in complete(self.stage, words, incomplete)]


def resolve_stage(stage: Stage[Any], words: Sequence[str]) -> tuple[Resolved[Any], StageOptions]:
    """Read a stage's command line into its configuration and the shell's own options.

    Raises:
        UsageError: Anything on the line or in a configuration file is wrong.
    """
    parsed = arguments.parse(words, stage)
    options = resolve(StageOptions, [], parsed.common).config
    layers = [layer for path in options.config for layer in read_layers(Path(path))]
    settings = [
        *arguments.positional_overrides(parsed.positionals, stage.config),
        *arguments.set_overrides(options.set),
        *parsed.settings,
    ]
    return resolve(stage.config, layers, settings), options


def _carry_out(
    method: Method, stage: Stage[Any], resolved: Resolved[Any], options: StageOptions, words: Sequence[str]
) -> int:
    if options.explain_config:
        _explain(resolved, options.json)
        return 0
    from interp_cli import execution

    if options.sweep is not None:
        from interp_cli.launch import from_stage

        return from_stage(method, stage, options, words)
    if options.num_processes > 1:
        from interp_cli import processes

        if not processes.is_child():
            return processes.run_again(options.num_processes)
    if options.dry_run:
        return execution.show_cost(method, stage, resolved, options)
    return execution.execute(method, stage, resolved, options, words).exit_code


def _explain(resolved: Resolved[Any], as_json: bool) -> None:
    if as_json:
        console.print_json({"config": resolved.data, "origins": resolved.origins})
        return
    rows: list[tuple[str, str, str]] = []
    _flatten(resolved.data, "", resolved.origins, rows)
    console.print_table(("setting", "value", "set by"), rows)


def _flatten(value: Any, path: str, origins: dict[str, str], rows: list[tuple[str, str, str]]) -> None:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            _flatten(inner, f"{path}.{key}" if path else str(key), origins, rows)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, inner in enumerate(value):
            _flatten(inner, f"{path}.{index}", origins, rows)
    else:
        rows.append((path, str(value), _origin(path, origins)))


def _origin(path: str, origins: dict[str, str]) -> str:
    parts = path.split(".")
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    unindexed = ".".join(part for part in parts if not part.isdigit())
    return next((origins[name] for name in [*names, unindexed] if name in origins), "default")


class MethodGroup(TyperGroup):
    """The commands of a method with several stages; a default stage runs when no command is named."""

    def __init__(self, method: Method) -> None:
        """Make the group of ``method``."""
        commands = {stage.name: StageCommand(method, stage, stage.name) for stage in method.stages}
        super().__init__(
            name=method.name, help=method.help, commands=commands, rich_markup_mode=None, add_help_option=False
        )
        self.method = method

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - signature of the base
        """Names of the stages, in the order of the method."""
        return [stage.name for stage in self.method.stages]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default stage's name before the words when they do not begin with a stage."""
        wants_help = bool(args) and args[0] in {"-h", "--help"}
        default = self.method.default_stage
        if (not args and default is None) or wants_help:
            if not ctx.resilient_parsing:
                self._show_help(ctx)
        elif default is not None and (not args or args[0] not in self.commands) and not ctx.resilient_parsing:
            args = [default.name, *args]
        ctx._protected_args, ctx.args = args[:1], args[1:]
        return ctx.args

    def _show_help(self, ctx: Any) -> None:
        lines = {stage.name: stage.help.strip().splitlines()[0] for stage in self.method.stages}
        help_pages.render(console.out(), *help_pages.group_help(ctx.command_path, self.method.help, lines, self.method))
        raise typer.Exit(0)


def method_command(method: Method) -> TyperCommand | TyperGroup:
    """The command of a method: plain when it has one stage, a group otherwise."""
    if len(method.stages) == 1:
        return StageCommand(method, method.stages[0], method.name)
    return MethodGroup(method)
