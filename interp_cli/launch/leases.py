"""Leases: which process works on which task.

A task's lease is a series of files ``leases/<task>.<generation>.json``. Taking a task means creating the next generation, which
only one process can do. The holder touches its file once a second. A lease is free again when its holder released it, when the
holder is known to have ended (same machine), when the queue started the same job again, or when the file was not touched for
:data:`GRACE_SECONDS` by the file server's own clock. A holder that finds a later generation has lost the task and stops.
"""

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp_cli.launch.atomic import create_json, read_json, replace_json
from interp_cli.launch.records import decoded
from interp_registry.process_identity import ProcessId, this_process

__all__ = ["BEAT_SECONDS", "GRACE_SECONDS", "Lease", "LeaseInfo", "claim", "newest_lease"]

BEAT_SECONDS = 1.0
"""How often a holder touches its lease."""

_NOBODY = {"host": "?", "boot": "?", "pid": 0, "start": ""}

GRACE_SECONDS = 60.0
"""How long a lease on another machine may go untouched before it counts as abandoned."""


@dataclass(frozen=True)
class LeaseInfo:
    """One generation of a task's lease, as read from its file.

    Attributes:
        path: The file.
        task: Number of the task.
        generation: 1 for the first holder.
        owner: The process that holds it.
        job: The queue's name of the holder's job, "" without a queue.
        restart: How often the queue had started that job again.
        log: Where the holder writes the task's output.
        released: Why the holder gave it back, "" while it has not.
    """

    path: Path
    task: int
    generation: int
    owner: ProcessId
    job: str = ""
    restart: int = 0
    log: str = ""
    released: str = ""

    def free(self, job: str = "", restart: int = 0) -> bool:
        """Whether another process may take the task.

        Args:
            job: The asking process's own queue job, if it has one.
            restart: How often that was restarted.
        """
        if self.released or self.owner.known_dead():
            return True
        if job and job == self.job and restart > self.restart:
            return True
        return self.seconds_untouched() > GRACE_SECONDS

    def seconds_untouched(self) -> float:
        """Seconds since the holder's last beat, by the clock of the file system that holds the lease."""
        try:
            return max(0.0, _file_system_now(self.path.parent) - self.path.stat().st_mtime)
        except FileNotFoundError:
            return 0.0


class Lease:
    """A lease that this process holds."""

    def __init__(self, info: LeaseInfo) -> None:
        self.info = info

    def beat(self) -> bool:
        """Show that the holder lives.

        Returns:
            Whether the lease is still held; False when another process took the task over.
        """
        if not self.held():
            return False
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.info.path)
        return True

    def held(self) -> bool:
        """Whether no later generation exists."""
        return not _path(self.info.path.parent, self.info.task, self.info.generation + 1).exists()

    def release(self, reason: str) -> None:
        """Give the task back so that any process may take it at once."""
        self.info = dataclasses.replace(self.info, released=reason)
        replace_json(self.info.path, _to_json(self.info))


def claim(folder: Path, task: int, *, job: str = "", restart: int = 0, log: str = "") -> Lease | None:
    """Take a task if it is free.

    Args:
        folder: The launch's ``leases`` folder.
        task: Number of the task.
        job: The queue's name of this job, if there is a queue.
        restart: How often the queue has restarted it.
        log: Where this process writes the task's output.

    Returns:
        The lease, or None when another process holds the task or was faster.
    """
    newest = newest_lease(folder, task)
    if newest is not None and not newest.free(job, restart):
        return None
    generation = 1 if newest is None else newest.generation + 1
    info = LeaseInfo(_path(folder, task, generation), task, generation, this_process(), job, restart, log)
    return Lease(info) if create_json(info.path, _to_json(info)) else None


def newest_lease(folder: Path, task: int) -> LeaseInfo | None:
    """The newest generation of a task's lease, or None when nobody took it yet."""
    generation = 0
    while _path(folder, task, generation + 1).exists():
        generation += 1
    if generation == 0:
        return None
    path = _path(folder, task, generation)
    return _from_json(path, task, generation, read_json(path) or {})


def _path(folder: Path, task: int, generation: int) -> Path:
    return folder / f"{task}.{generation}.json"


def _to_json(info: LeaseInfo) -> dict[str, Any]:
    return {
        "owner": dataclasses.asdict(info.owner),
        "job": info.job,
        "restart": info.restart,
        "log": info.log,
        "released": info.released,
    }


def _from_json(path: Path, task: int, generation: int, data: Mapping[str, Any]) -> LeaseInfo:
    return decoded(LeaseInfo, {"owner": _NOBODY, **data, "path": path, "task": task, "generation": generation}, path)


def _file_system_now(folder: Path) -> float:
    probe = folder / f".now.{uuid.uuid4().hex[:8]}.tmp"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
