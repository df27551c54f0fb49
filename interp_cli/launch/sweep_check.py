"""Check a sweep against the configuration of the stage that it runs, before anything is started."""

from collections.abc import Sequence
from typing import Any

from interp_cli.arguments import annotations_at
from interp_cli.launch.sweep_file import Sweep, Values
from interp_cli.launch.sweep_points import Point, command_of, option_words
from interp_cli.options import StageOptions
from interp_registry.config_io import choice_root, fields_of
from interp_registry.config_io.schema import element_choice_root, strip_optional
from interp_registry.contracts.method import Stage
from interp_registry.discovery import discover
from interp_registry.errors import ConfigError, InterpError, UnknownNameError, UsageError

__all__ = ["check_points", "check_sweep", "stage_of"]

_RESOLVED_POINTS = 200


def stage_of(command: Sequence[str]) -> tuple[Stage[Any], list[str]] | None:
    """The stage that a command names, and the words after its name; None for plain commands."""
    if not command or command[0] not in discover().methods:
        return None
    method = discover().methods[command[0]]
    stages = {stage.name: stage for stage in method.stages}
    if len(method.stages) > 1 and len(command) > 1 and command[1] in stages:
        return stages[command[1]], list(command[2:])
    default = method.default_stage
    return None if default is None else (default, list(command[1:]))


def check_sweep(sweep: Sweep, stage: Stage[Any], experiments: Sequence[str]) -> None:
    """Refuse keys that the stage's configuration does not have.

    Raises:
        UnknownNameError: There is one; the message names the file, the line and the nearest key.
    """
    for experiment in experiments:
        for key, leaf in sweep.space(experiment).items():
            _check_key(key, stage, sweep.where(experiment, key))
            if isinstance(leaf, Values) and len(set(map(repr, leaf.values))) < len(leaf.values):
                raise ConfigError(f"a value occurs twice in {list(leaf.values)}", key, sweep.where(experiment, key))


def _check_key(key: str, stage: Stage[Any], where: str) -> None:
    segments = [segment.replace("-", "_") for segment in key.split(".")]
    owners = [stage.config_type, StageOptions]
    for depth, segment in enumerate(segments):
        names = sorted({name for owner in owners for name in fields_of(owner)})
        fields = [fields_of(owner)[segment] for owner in owners if segment in fields_of(owner)]
        if not fields:
            if depth and any(annotations_at(owner, segments) for owner in (stage.config_type, StageOptions)):
                return
            wrong = ".".join(segments[: depth + 1])
            raise UnknownNameError("setting", wrong, [".".join([*segments[:depth], name]) for name in names], where)
        if any(field.command_line_only for field in fields):
            raise ConfigError("only a command line may say it, no sweep file", key, where)
        owners = [owner for field in fields for owner in _below(field.annotation)]
        if not owners:
            return


def _below(annotation: Any) -> list[type]:
    """Classes whose fields may follow a field of this type."""
    root = choice_root(annotation) or element_choice_root(annotation)
    if root is not None:
        return [root.get_choice_class(name) for name in root.get_known_choices()]
    nested = strip_optional(annotation)
    return [nested] if isinstance(nested, type) and hasattr(nested, "__dataclass_fields__") else []


def check_points(sweep: Sweep, command: Sequence[str], points: Sequence[Point]) -> None:
    """Resolve points as the stage would, so that a wrong value is found now: all of a small sweep, each value of a large one.

    Raises:
        UsageError: A point is no configuration of the stage; the message names the point.
    """
    from interp_cli.stage_run import resolve_stage

    found = stage_of(command)
    if found is None:
        return
    seen: set[tuple[str, str]] = set()
    for point in points:
        new = {(key, repr(value)) for key, value in point.params.items()} - seen
        if not new and len(points) > _RESOLVED_POINTS:
            continue
        seen |= new
        words = command_of(command, point)
        stage = stage_of(words)
        try:
            if stage is not None:
                resolve_stage(*stage)
        except InterpError as err:
            said = " ".join(option_words(point.params))
            key = next((k for k in point.params if k.split(".")[-1] in str(err)), next(iter(point.params), ""))
            raise UsageError(f"{sweep.where(point.experiment, key)}: {err.message} (point {said})", err.hint) from err
