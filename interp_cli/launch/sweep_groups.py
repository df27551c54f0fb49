"""Points of a sweep that run side by side in one process: which may, and the task of each group."""

import json
from collections.abc import Sequence
from typing import Any

from interp_cli.launch.folder import Task
from interp_cli.launch.points_word import points_word
from interp_cli.launch.sweep_check import stage_of
from interp_cli.launch.sweep_file import Sweep
from interp_cli.launch.sweep_points import Point, command_of, point_name, tasks_of
from interp_registry.config_io import encode
from interp_registry.contracts.method import Stage
from interp_registry.discovery import discover
from interp_registry.errors import UsageError

__all__ = ["MOST", "check_batched", "grouped_tasks"]

MOST = 64
"""Largest group."""


def check_batched(sweep: Sweep, stage: Stage[Any] | None, most: int) -> None:
    """Refuse groups where there can be none.

    Raises:
        UsageError: The command cannot run several points at once, the points depend on results, or the number is wrong.
    """
    if not 1 <= most <= MOST:
        raise UsageError(f"--batched {most} is not between 1 and {MOST}")
    if stage is None or stage.run_batch is None or stage.batch_key is None:
        raise UsageError("the command cannot run several points in one process", "leave --batched out")
    if sweep.settings.method == "tpe":
        raise UsageError("the points of a tpe sweep depend on results", "leave --batched out")


def grouped_tasks(points: Sequence[Point], command: Sequence[str], most: int) -> list[Task]:
    """One task per group of at most ``most`` points that may share a process, in the order of their first points."""
    groups: dict[str, list[int]] = {}
    for number, point in enumerate(points):
        key = _key(command_of(command, point))
        name = f"alone {number}" if key is None else f"{point.experiment} {key}"
        groups.setdefault(name, []).append(number)
    parts = [numbers[at : at + most] for numbers in groups.values() for at in range(0, len(numbers), most)]
    return [_task(i, [(number, points[number]) for number in part], command) for i, part in enumerate(parts)]


def _key(words: Sequence[str]) -> str | None:
    """What a point must share with others to run with them, as text; None for one that runs by itself."""
    from interp_cli.paths import catalog
    from interp_cli.stage_run import resolve_stage

    found = stage_of(words)
    if found is None:
        return None
    stage, rest = found
    resolved, options = resolve_stage(stage, rest)
    key_of = stage.load_batch_key()
    key = None if key_of is None or options.num_processes > 1 else key_of(resolved.config, catalog(discover()))
    if key is None:
        return None
    shared = {name: value for name, value in encode(options).items() if name != "seed"}
    return json.dumps([shared, key], sort_keys=True, default=str)


def _task(i: int, members: Sequence[tuple[int, Point]], command: Sequence[str]) -> Task:
    experiment = members[0][1].experiment
    points = [{"i": number, "params": dict(point.params)} for number, point in members]
    if len(members) == 1:
        single = tasks_of([members[0][1]], command)[0]
        return Task(i, single.argv, single.name, single.params, experiment, points)
    words = command_of(command, Point(experiment, {}, ""))
    named = points_word([point.params for _, point in members])
    name = f"{experiment} {len(members)} points from {point_name(members[0][1].params)}".strip()
    return Task(i, (*words, named), name, {}, experiment, points)
