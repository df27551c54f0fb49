"""An agent: takes free tasks of a launch one after another until all have ended.

``python -m interp_cli.launch.agent FOLDER [NUMBERS]``. Any number of agents on any number of machines may work on one launch; each can
be killed at any time, and its task is taken over by another.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from interp_cli.launch.folder import Ended, LaunchFolder
from interp_cli.launch.leases import Lease, claim, newest_lease
from interp_cli.launch.supervise import INTERRUPTED, Inbox, Queue, supervise
from interp_registry.task_numbers import parse_numbers

__all__ = ["MAX_GENERATIONS", "main", "work"]

MAX_GENERATIONS = 25
"""A task that has lost so many holders takes its agents down with it; it is then recorded as failed."""

_IDLE_SECONDS = 0.3


def main(arguments: list[str]) -> int:
    """Work on a launch; returns 0, or 143 when a signal asked the agent to end."""
    folder = LaunchFolder(Path(arguments[0]))
    only = parse_numbers(arguments[1]) if len(arguments) > 1 else None
    inbox = Inbox()
    inbox.install()
    return work(folder, inbox, only)


def work(folder: LaunchFolder, inbox: Inbox, only: Iterable[int] | None = None) -> int:
    """Take and run tasks until all of them have ended.

    Args:
        folder: The launch.
        inbox: Signals of this process.
        only: Numbers of the tasks to care for; all by default.
    """
    numbers = sorted(only) if only is not None else [task.i for task in folder.tasks()]
    while inbox.signum is None:
        ended = folder.ended_numbers()
        left = [i for i in numbers if i not in ended]
        if not left:
            return 0
        lease = _take_one(folder, left)
        if lease is None:
            inbox.wait(_IDLE_SECONDS)
            continue
        supervise(folder, lease, inbox, Queue())
    return INTERRUPTED


def _take_one(folder: LaunchFolder, left: list[int]) -> Lease | None:
    name = os.environ.get("INTERP_AGENT", "local")
    for i in left:
        newest = newest_lease(folder.leases, i)
        if (
            newest is not None
            and newest.generation >= MAX_GENERATIONS * (1 + folder.times_reopened(i))
            and newest.free()
        ):
            error = f"{newest.generation} processes that worked on this task were killed"
            folder.end(Ended(i, "failed", None, newest.generation, log=newest.log, error=error))
            continue
        lease = claim(folder.leases, i, log=str(folder.logs / f"{name}_{i}.out"))
        if lease is not None and folder.ended(i) is None:
            return lease
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
