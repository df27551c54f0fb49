"""Text of the batch script that SLURM runs for each task of a launch: constant, and without the tasks' arguments."""

import re
import shlex
from collections.abc import Sequence

from interp_plugins.launchers.config import SlurmLauncherConfig
from interp_registry.contracts.launcher import Launch
from interp_registry.errors import UsageError
from interp_registry.task_numbers import format_numbers

__all__ = ["OFFSET", "array_range", "batch_script", "job_name"]

OFFSET = "INTERP_TASK_OFFSET"
"""Variable that holds the number of the first task of an array, for launches that need several arrays."""

_BODY = """\
export INTERP_JOB_ID="${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
export INTERP_JOB_RESTART="${{SLURM_RESTART_COUNT:-0}}"
export INTERP_LOG={logs}/"${{INTERP_JOB_ID}}.out"
{setup}exec {command} "$((SLURM_ARRAY_TASK_ID + ${{{offset}:-0}}))"
"""


def batch_script(config: SlurmLauncherConfig, launch: Launch, tasks: Sequence[int]) -> str:
    """The script: header, three variables, the user's set-up lines, and one command.

    Raises:
        UsageError: A value of the header holds a line break or another control character.
    """
    header = ["#!/bin/bash", *(f"#SBATCH {_option(name, value)}" for name, value in _options(config, launch, tasks))]
    exports = [f"export {key}={shlex.quote(value)}\n" for key, value in sorted(launch.environment.items())]
    body = _BODY.format(
        logs=shlex.quote(str(launch.folder / "logs")),
        setup="".join([f"{line}\n" for line in config.setup] + exports),
        command=shlex.join(launch.task_command),
        offset=OFFSET,
    )
    return "\n".join(header) + "\n\n" + body


def _options(config: SlurmLauncherConfig, launch: Launch, tasks: Sequence[int]) -> list[tuple[str, str | None]]:
    need = launch.resources
    log = str(launch.folder / "logs").replace("%", "%%") + "/%A_%a.out"
    options: list[tuple[str, str | None]] = [
        ("job-name", job_name(launch)),
        ("partition", config.partition),
        ("nodes", "1"),
        ("ntasks-per-node", "1"),
        ("gpus-per-node", str(need.gpus)) if need.gpus else ("", None),
        ("cpus-per-task", str(need.cpus) if need.cpus else None),
        ("mem", need.memory),
        ("time", _clock(need.minutes) if need.minutes else None),
        ("output", log),
        ("open-mode", "append"),
        ("requeue" if config.requeue else "no-requeue", ""),
        ("signal", f"B:USR2@{config.signal_seconds}"),
        ("dependency", dependency(config)),
        ("array", array_range(launch, tasks)),
    ]
    options += [_split(text) for text in config.sbatch]
    return [(name, value) for name, value in options if value is not None]


def array_range(launch: Launch, tasks: Sequence[int]) -> str:
    """The tasks and how many of them may run at a time, e.g. ``0-99%8``."""
    return f"{format_numbers(tasks)}%{max(1, min(launch.n_agents, len(tasks)))}"


def job_name(launch: Launch) -> str:
    """Name of the jobs of a launch, by which they are found again."""
    return f"interp-{launch.name}-{launch.id}" if launch.name else f"interp-{launch.id}"


def dependency(config: SlurmLauncherConfig) -> str | None:
    """Sbatch's words for what must have ended before; a bare number means "ended well"."""
    given = config.dependency
    return f"afterok:{given}" if given and given.isdigit() else given


def _clock(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02d}:00"


def _split(text: str) -> tuple[str, str]:
    name, _, value = text.strip().removeprefix("--").partition("=")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise UsageError(f"{text!r} is no option of sbatch", "write it like constraint=a100")
    return name, value


def _option(name: str, value: str | None) -> str:
    if value is not None and re.search(r"[\x00-\x1f\x7f]", value):
        raise UsageError(f"the value {value!r} of --{name} holds a control character", "leave it out")
    if not value:
        return f"--{name}"
    return f"--{name}={value}" if re.fullmatch(r"[^\s\"'\\#]+", value) else f'--{name}="{_escaped(value)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
