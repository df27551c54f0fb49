"""What became of a launch, and stopping or repeating parts of it; no accounting database is asked."""

import contextlib
import dataclasses
import os
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from interp_cli.launch.folder import Ended, LaunchFolder, Task
from interp_cli.launch.leases import LeaseInfo, newest_lease
from interp_cli.launch.submit import capped_agents, open_launcher, start_tasks
from interp_registry.contracts.launcher import QueueState
from interp_registry.errors import UsageError
from interp_registry.process_identity import ProcessId

__all__ = ["ENDED_STATES", "TaskStatus", "cancel", "counts", "log_of", "retry", "task_states"]

ENDED_STATES = frozenset({"done", "failed", "cancelled"})
"""States of tasks that have ended."""

_RETRIED = frozenset({"failed", "cancelled", "lost", "interrupted"})


@dataclass(frozen=True)
class TaskStatus:
    """What is known of one task.

    Attributes:
        task: The task.
        state: done, failed, cancelled; running; waiting (in the queue); interrupted (given back, nobody will go on);
            lost (its process was killed, nobody will go on); unknown (the queue does not answer).
        ended: How it ended, if it did.
        lease: Who worked on it last, if anybody did.
    """

    task: Task
    state: str
    ended: Ended | None = None
    lease: LeaseInfo | None = None


def task_states(folder: LaunchFolder) -> list[TaskStatus]:
    """The state of every task, from the folder and the launcher's own queue."""
    launcher, _ = open_launcher(folder.describe(), folder)
    jobs, ended = folder.jobs(), folder.all_ended()
    tasks = folder.tasks()
    open_jobs = [job for job in jobs if not ended.keys() >= set(job.tasks)]
    queue = launcher.states(open_jobs) if open_jobs else {}
    nobody: QueueState = "gone" if launcher.capabilities.starts and not folder.owner_alive() else "queued"
    return [_status(folder, task, ended.get(task.i), queue.get(task.i, nobody)) for task in tasks]


def _status(folder: LaunchFolder, task: Task, ended: Ended | None, queue: QueueState) -> TaskStatus:
    if ended is not None:
        return TaskStatus(task, ended.state, ended)
    lease = newest_lease(folder.leases, task.i)
    if lease is not None and not lease.free():
        return TaskStatus(task, "running", lease=lease)
    if queue == "unknown":
        return TaskStatus(task, "unknown", lease=lease)
    if queue != "gone":
        return TaskStatus(task, "waiting", lease=lease)
    return TaskStatus(task, "interrupted" if lease is not None and lease.released else "lost", lease=lease)


def counts(states: Iterable[TaskStatus]) -> dict[str, int]:
    """How many tasks are in each state."""
    return dict(sorted(Counter(status.state for status in states).items()))


def cancel(folder: LaunchFolder, only: Iterable[int] | None = None) -> list[int]:
    """Stop tasks that have not ended, and record them as cancelled.

    Returns:
        Numbers of the tasks that were cancelled.
    """
    launcher, _ = open_launcher(folder.describe(), folder)
    owner = folder.owner()
    if only is None and owner is not None:
        _terminate(owner)
    wanted = {task.i for task in folder.tasks()} if only is None else set(only)
    stopped = sorted(i for i in wanted - folder.ended_numbers() if folder.end(Ended(i, "cancelled")))
    if only is None:
        launcher.cancel(folder.jobs())
    elif stopped:
        launcher.cancel(folder.jobs(), stopped)
    for i in stopped:
        _stop_holder(folder, i)
    return stopped


def _stop_holder(folder: LaunchFolder, task: int) -> None:
    lease = newest_lease(folder.leases, task)
    if lease is None or lease.released or lease.job:
        return
    _terminate(lease.owner)


def _terminate(process: ProcessId) -> None:
    if not process.here() or process.known_dead():
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process.pid, signal.SIGTERM)


def retry(
    folder: LaunchFolder, only: Iterable[int] | None = None, *, force: bool = False, max_gpus: int = 8
) -> list[int]:
    """Start again the tasks that failed, were cancelled, lost or interrupted.

    Args:
        folder: The launch.
        only: Numbers of the tasks to consider.
        force: Also repeat tasks that are done, and go over the cap of GPUs.
        max_gpus: Cap over all of the user's launches.

    Returns:
        Numbers of the tasks that were started again.

    Raises:
        UsageError: The launcher starts nothing itself, or the cap of GPUs is reached.
    """
    launcher, launch = open_launcher(folder.describe(), folder)
    if not launcher.capabilities.starts:
        raise UsageError(f"the launcher of {folder.id} starts nothing", f"run the commands in {folder.script} again")
    wanted = None if only is None else set(only)
    repeated = _RETRIED | {"done"} if force and wanted is not None else _RETRIED
    statuses = [s for s in task_states(folder) if s.state in repeated and (wanted is None or s.task.i in wanted)]
    numbers = [status.task.i for status in statuses]
    if not numbers:
        return []
    agents, _ = capped_agents(launch, max_gpus, force)
    for status in statuses:
        if status.ended is not None:
            folder.reopen(status.task.i)
    start_tasks(
        folder, launcher, dataclasses.replace(launch, n_agents=agents), numbers, folder.describe().get("pass_env", ())
    )
    return numbers


def log_of(folder: LaunchFolder, task: int) -> Path | None:
    """The newest log of a task, or None when it has written none."""
    ended = folder.ended(task)
    lease = newest_lease(folder.leases, task)
    for log in ((ended.log if ended else ""), (lease.log if lease else "")):
        if log and Path(log).is_file():
            return Path(log)
    return None
