"""The records of a launch as typed values: what is damaged or was edited wrongly is named, not met later as a wrong type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from interp_registry.contracts.launcher import Resources
from interp_registry.errors import CorruptError

__all__ = ["Description", "decoded"]

T = TypeVar("T")


@dataclass(frozen=True)
class _Launcher:
    name: str
    config: dict[str, Any]
    requeue_command: list[str] = field(default_factory=list)
    interrupt_seconds: float = 0.0


@dataclass(frozen=True)
class _Launch:
    name: str
    n_agents: int
    resources: Resources
    task_command: list[str]
    agent_command: list[str]


@dataclass(frozen=True)
class _Sweep:
    file: str = ""
    method: str = "grid"
    metric: str = ""
    goal: str = "maximize"
    experiments: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Description:
    """What ``launch.json`` holds, as far as anything depends on it."""

    launcher: _Launcher
    launch: _Launch
    kind: str = ""
    command: list[str] = field(default_factory=list)
    resumable: bool = False
    pass_env: list[str] = field(default_factory=list)
    task_environment: dict[str, str] = field(default_factory=dict)
    sweep: _Sweep = field(default_factory=_Sweep)


def decoded(kind: type[T], data: Mapping[str, Any], path: Path, place: str = "") -> T:
    """A record as a value of its class.

    Raises:
        CorruptError: A field is missing, unknown, or of another type; the message names the file.
    """
    import draccus

    try:
        return draccus.decode(kind, dict(data))
    except (draccus.utils.DraccusException, TypeError, ValueError, KeyError, AttributeError) as err:
        reason = str(err).strip().splitlines()[0]
        raise CorruptError(f"{path}{place} is damaged: {reason}", "mend it by hand, or launch again") from err
