"""From the words of a stage's command line to its exit code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp_cli import arguments, console
from interp_cli.launch.points_word import points_in
from interp_cli.options import StageOptions
from interp_registry.config_io import Resolved, fields_of, read_layers, resolve
from interp_registry.contracts.method import Method, Stage
from interp_registry.discovery import discover
from interp_registry.errors import UsageError

__all__ = ["resolve_stage", "run_stage"]

_OF_A_SWEEP = frozenset({"batched", "n_agents", "launcher"})


def run_stage(method: Method, stage: Stage[Any], path: str, words: Sequence[str]) -> int:
    """Run a stage, or show its help page.

    Args:
        method: The method that the stage belongs to.
        stage: The stage.
        path: The command as typed, e.g. ``interp lens train``.
        words: What follows it.

    Returns:
        The exit code.
    """
    discover()
    if any(word in {"-h", "--help"} for word in words):
        _show_help(path, stage, words)
        return 0
    words, points = points_in(words)
    if points is not None:
        return _carry_out_together(method, stage, words, points)
    resolved, options = resolve_stage(stage, words)
    console.setup_logging(options.debug, options.quiet)
    return _carry_out(method, stage, resolved, options, words)


def _show_help(path: str, stage: Stage[Any], words: Sequence[str]) -> None:
    from interp_cli.help_pages import show_page
    from interp_cli.stage_help import stage_help

    try:
        parsed = arguments.parse(words, stage)
        positionals = arguments.positional_overrides(parsed.positionals, stage.config_type)
        given = arguments.lookup([*positionals, *parsed.settings])
    except UsageError:
        given = {}
    show_page(stage_help(path, stage, given))


def resolve_stage(stage: Stage[Any], words: Sequence[str]) -> tuple[Resolved[Any], StageOptions]:
    """Read a stage's command line into its configuration and the shell's own options.

    Raises:
        UsageError: Anything on the line or in a configuration file is wrong.
    """
    parsed = arguments.parse(words, stage)
    options = resolve(StageOptions, [], parsed.common).config
    layers = [layer for path in options.config for layer in read_layers(Path(path))]
    settings = [
        *arguments.positional_overrides(parsed.positionals, stage.config_type),
        *parsed.settings,
    ]
    if options.sweep is None:
        _refuse_sweep_options(options)
    return resolve(stage.config_type, layers, settings), options


def _refuse_sweep_options(options: StageOptions) -> None:
    """Options that only a sweep heeds are never silently without effect."""
    for schema in fields_of(StageOptions).values():
        if schema.name in _OF_A_SWEEP and getattr(options, schema.name) != schema.default:
            raise UsageError(
                f"{schema.option} is for the points of a sweep, and there is no --sweep",
                "add --sweep FILE, or leave it out; `interp launch` runs one command elsewhere",
            )


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
    from interp_cli import processes

    processes.enter()
    if options.num_processes > 1 and not processes.is_child():
        return processes.run_again(options.num_processes, options.device)
    if options.dry_run:
        return execution.show_cost(method, stage, resolved, options)
    return execution.execute(method, stage, resolved, options, words).exit_code


def _carry_out_together(
    method: Method, stage: Stage[Any], words: Sequence[str], points: Sequence[dict[str, Any]]
) -> int:
    """Run several points of a sweep in this process."""
    from interp_cli import execution
    from interp_cli.launch.sweep_points import option_words

    lines = [[*words, *option_words(params)] for params in points]
    resolved = [resolve_stage(stage, line) for line in lines]
    console.setup_logging(resolved[0][1].debug, resolved[0][1].quiet)
    outcomes = execution.execute_together(method, stage, resolved, lines)
    return max(outcome.exit_code for outcome in outcomes)


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
