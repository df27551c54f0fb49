"""Launchers: ways to start task ``i`` of a launch somewhere.

The core writes a launch folder (``launch.json``, ``tasks.jsonl``, logs, states) and knows what each task is. A launcher knows only
how to start ``launch.task_command(i)`` on some machine, what its queue says about it, and how to stop it. It never sees the
arguments of a task: they stay in the folder, as JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

__all__ = ["Job", "Launch", "Launcher", "LauncherCapabilities", "QueueState", "Resources"]

QueueState = Literal["queued", "running", "gone", "unknown"]
"""What a launcher's queue says of a task: waiting, running, not there any more, or the queue could not be asked."""


@dataclass(frozen=True)
class Resources:
    """What one task needs.

    Attributes:
        gpus: GPUs per task; 0 for none.
        cpus: CPU cores per task; None leaves it to the launcher.
        memory: Memory per task in the launcher's spelling (``64G``); None leaves it to the launcher.
        minutes: Time limit in minutes; None for none.
    """

    gpus: int = 0
    cpus: int | None = None
    memory: str | None = None
    minutes: int | None = None


@dataclass(frozen=True)
class Launch:
    """One launch, as a launcher sees it. Plain data.

    Attributes:
        id: Name of the launch; also the name of its folder.
        folder: The launch folder; every machine that runs tasks must see it under this path.
        name: Name for people, shown by queues.
        n_tasks: Number of tasks; tasks are numbered from 0.
        n_agents: How many tasks may run at the same time.
        resources: What one task needs.
        task_command: Command that runs one task; the task's number is appended.
        agent_command: Command that runs tasks, one after another, until none is left.
        environment: Variables that the commands need (already filtered; never a secret).
        log_links: Folder that gets a link to each log, or None.
    """

    id: str
    folder: Path
    name: str
    n_tasks: int
    n_agents: int
    resources: Resources
    task_command: tuple[str, ...]
    agent_command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    log_links: Path | None = None


@dataclass(frozen=True)
class Job:
    """Tasks handed to the launcher in one go.

    Attributes:
        id: The launcher's own name of it: a job number, a process number.
        tasks: The tasks it will run.
        host: Where it was started, where that matters for asking about it later.
        details: What the launcher needs to find it again, as JSON values.
    """

    id: str
    tasks: tuple[int, ...]
    host: str = ""
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LauncherCapabilities:
    """What a launcher can do.

    Attributes:
        queues: It has a queue of its own: tasks may wait, and go on when the user logs out.
        requeue_command: Command by which a running task asks to be started again, with ``${VARIABLES}`` of the task's
            environment; empty when it cannot.
        interrupt_seconds: How long before the time limit a task is sent USR2; 0 when it is not.
        starts: False for a launcher that only shows what it would do.
        default_agents: How many tasks run at a time unless the user says; None for all.
        default_gpus: GPUs per task unless the user says.
    """

    queues: bool = False
    requeue_command: tuple[str, ...] = ()
    interrupt_seconds: int = 0
    starts: bool = True
    default_agents: int | None = None
    default_gpus: int = 0


class Launcher(Protocol):
    """Starts tasks, asks about them, stops them. Built from a `LauncherConfig`."""

    @property
    def capabilities(self) -> LauncherCapabilities:
        """What this launcher can do with its present configuration."""
        ...

    def check(self, launch: Launch) -> None:
        """Refuse what cannot work before anything is written.

        Raises:
            UsageError: The launch asks for what this launcher cannot give (a time limit that is too short, GPUs that are not
                there, a host that does not see the folder).
        """
        ...

    def script(self, launch: Launch, tasks: Sequence[int]) -> str:
        """Text of what will be started, for ``--dry-run`` and ``script.sh``: the same for the same launch."""
        ...

    def start(self, launch: Launch, tasks: Sequence[int], environment: Mapping[str, str]) -> list[Job]:
        """Start tasks and return at once.

        Args:
            launch: The launch.
            tasks: Numbers of its tasks.
            environment: All that the started programs may see of this process's variables (``launch.environment`` comes on top).

        Raises:
            InterpError: The back end refused; its own words are in the message.
        """
        ...

    def states(self, jobs: Sequence[Job]) -> dict[int, QueueState]:
        """What the queue says of the tasks of some jobs; never needs an accounting database."""
        ...

    def cancel(self, jobs: Sequence[Job], tasks: Iterable[int] | None = None) -> None:
        """Stop some tasks, or all of the jobs'; tasks that have ended are left alone."""
        ...

    def gpus_in_use(self) -> int:
        """GPUs that the user holds or has asked for through this launcher's back end, over all launches."""
        ...
