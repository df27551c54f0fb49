"""The one adapter from a stage to a typer command: command line -> configuration -> execution -> what is shown."""

from typing import Any

import typer
from typer.core import CompletionItem, TyperCommand, TyperGroup  # pyright: ignore[reportPrivateImportUsage]

from interp_cli.help_pages import completion_help, group_help, show_page
from interp_registry.contracts.method import Method, Stage

__all__ = ["MethodGroup", "StageCommand", "method_command"]


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
        from interp_cli.stage_run import run_stage

        return run_stage(self.method, self.stage, ctx.command_path, ctx.meta["interp.words"])

    def get_help(self, ctx: Any) -> str:
        """The help page as text."""
        from interp_cli.stage_help import help_text

        return help_text(ctx.command_path, self.stage)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """Options, dotted fields of the chosen types, and the values that can be listed."""
        from interp_cli.completion import complete

        words = ctx.meta.get("interp.words", [])
        offered = complete(self.stage, words, incomplete)
        return [CompletionItem(value, help=completion_help(text)) for value, text in offered]


class MethodGroup(TyperGroup):
    """The commands of a method with several stages; a default stage runs when no command is named."""

    def __init__(self, method: Method) -> None:
        """Make the group of ``method``."""
        commands: dict[str, Any] = {stage.name: StageCommand(method, stage, stage.name) for stage in method.stages}
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
        elif default is not None and self._means_default(args, ctx.resilient_parsing):
            args = [default.name, *args]
        ctx._protected_args, ctx.args = args[:1], args[1:]
        return ctx.args

    def _means_default(self, args: list[str], completing: bool) -> bool:
        """Whether no stage is named; the word that is being completed may still become one."""
        return args[0] not in self.commands if args else not completing

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """Names of stages, and what the default stage would offer."""
        items = super().shell_complete(ctx, incomplete)
        default = self.method.default_stage
        return items if default is None else [*items, *self.commands[default.name].shell_complete(ctx, incomplete)]

    def _show_help(self, ctx: Any) -> None:
        lines = {stage.name: stage.help.strip().splitlines()[0] for stage in self.method.stages}
        default = self.method.default_stage
        show_page(group_help(ctx.command_path, self.method.help, lines, default))
        if default is not None:
            from interp_cli.stage_help import stage_help
            from interp_registry.discovery import discover

            discover()
            show_page(stage_help(ctx.command_path, default, {}))
        raise typer.Exit(0)


def method_command(method: Method) -> TyperCommand | TyperGroup:
    """The command of a method: plain when it has one stage, a group otherwise."""
    if len(method.stages) == 1:
        return StageCommand(method, method.stages[0], method.name)
    return MethodGroup(method)
