"""What ``interp launch`` and ``interp sweep`` print."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from interp_cli import console
from interp_cli.launch.folder import LaunchFolder, Task
from interp_cli.launch.status import TaskStatus, counts, log_of, task_states
from interp_cli.launch.submit import Submitted
from interp_cli.report.visible import visible_lines
from interp_registry.task_numbers import format_numbers

__all__ = ["at_work", "follow_log", "show_plan", "show_status", "show_submitted", "status_json", "wait_for_end"]

_SHOWN_TASKS = 20
_ACTIVE = frozenset({"running", "waiting", "unknown"})


def show_plan(script: str, tasks: Sequence[Task], notes: Sequence[str], *, as_json: bool) -> None:
    """Print what would be started."""
    if as_json:
        rows = [{"i": t.i, "name": t.name, "argv": list(t.argv), "params": dict(t.params)} for t in tasks]
        console.print_json({"script": script, "n_tasks": len(tasks), "tasks": rows, "notes": list(notes)})
        return
    printer = console.out()
    printer.print(script, markup=False, soft_wrap=True, end="")
    printer.print()
    for task in tasks[:_SHOWN_TASKS]:
        printer.print(f"# task {task.i}: interp {' '.join(task.argv)}", markup=False, soft_wrap=True)
    if len(tasks) > _SHOWN_TASKS:
        printer.print(f"# ... {len(tasks) - _SHOWN_TASKS} more")
    for note in notes:
        printer.print(f"# {note}", markup=False, soft_wrap=True)
    printer.print(f"# {len(tasks)} tasks; nothing was started")


def show_submitted(submitted: Submitted, *, as_json: bool) -> None:
    """Print what was started and how to go on."""
    folder, launch = submitted.folder, submitted.launch
    jobs = [job.id for job in submitted.jobs]
    if as_json:
        console.print_json(
            {"id": folder.id, "folder": str(folder.path), "jobs": jobs, "n_tasks": launch.n_tasks, "n_agents": launch.n_agents,
             "notes": list(submitted.notes)}
        )  # fmt: skip
        return
    printer = console.out()
    printer.print(
        f"launch {folder.id}: {launch.n_tasks} tasks, {launch.n_agents} at a time"
        + (f", job {', '.join(jobs)}" if jobs else "")
    )
    for note in submitted.notes:
        printer.print(f"  {note}", markup=False, soft_wrap=True)
    if not jobs:
        printer.print(f"  nothing was started; the commands are in {folder.script}", markup=False, soft_wrap=True)
    printer.print(f"  interp launch status {folder.id}")
    console.print_paths([folder.path])


def show_status(folder: LaunchFolder, states: Sequence[TaskStatus]) -> None:
    """Print the counts, and a line for each task that is neither done nor waiting."""
    said = ", ".join(f"{n} {state}" for state, n in counts(states).items())
    console.out().print(f"{folder.id}: {len(states)} tasks: {said}")
    rows = [_row(one) for one in states if one.state not in {"done", "waiting"}]
    if rows:
        console.print_table(("task", "state", "name", "code", "host", "said last"), rows[:_SHOWN_TASKS])
    if len(rows) > _SHOWN_TASKS:
        console.out().print(f"... {len(rows) - _SHOWN_TASKS} more; --json shows all")
    failed = [one.task.i for one in states if one.state in {"failed", "cancelled", "lost", "interrupted"}]
    if failed:
        console.out().print(f"interp launch retry {folder.id} --tasks {format_numbers(failed)}")


def _row(one: TaskStatus) -> list[Any]:
    ended, lease = one.ended, one.lease
    host = ended.host if ended else lease.owner.host if lease else ""
    return [
        one.task.i,
        one.state,
        one.task.name,
        "" if ended is None or ended.code is None else ended.code,
        host,
        ended.error if ended else "",
    ]


def status_json(folder: LaunchFolder, states: Sequence[TaskStatus]) -> dict[str, Any]:
    """The status as JSON values."""
    return {
        "id": folder.id,
        "folder": str(folder.path),
        "counts": counts(states),
        "tasks": [
            {
                "i": one.task.i, "name": one.task.name, "state": one.state, "code": one.ended.code if one.ended else None,
                "run": one.ended.run if one.ended else "", "error": one.ended.error if one.ended else "",
                "log": str(log_of(folder, one.task.i) or ""),
            }
            for one in states
        ],
    }  # fmt: skip


def at_work(folder: LaunchFolder) -> bool:
    """Whether a task of a launch runs or may begin."""
    return folder.owner_alive() or any(one.state in _ACTIVE for one in task_states(folder))


def wait_for_end(folder: LaunchFolder, seconds: float = 1.0) -> list[TaskStatus]:
    """Wait until nothing of a launch runs or waits any more and no owner lives; shows the counts on a terminal.

    Raises:
        KeyboardInterrupt: The user does not want to wait any longer; the tasks go on, and the user is told so.
    """
    try:
        states = task_states(folder)
        while folder.owner_alive() or any(one.state in _ACTIVE for one in states):
            _tick(states)
            time.sleep(seconds)
            states = task_states(folder)
    except KeyboardInterrupt:
        console.err().print(f"the tasks go on; stop them with: interp launch cancel {folder.id}")
        raise
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    return states


def _tick(states: Sequence[TaskStatus]) -> None:
    if sys.stderr.isatty():
        said = ", ".join(f"{n} {state}" for state, n in counts(states).items())
        sys.stderr.write(f"\r\033[K{said}")
        sys.stderr.flush()


def follow_log(folder: LaunchFolder, task: int, follow: bool) -> None:
    """Copy a task's log to standard output, until the task ends when ``follow``."""
    position = 0
    while True:
        over = not follow or folder.ended(task) is not None
        log = log_of(folder, task)
        if log is not None:
            with log.open("rb") as source:
                source.seek(position)
                text = source.read()
            position += len(text)
            said = text.decode("utf-8", errors="replace")
            sys.stdout.write(visible_lines(said) if sys.stdout.isatty() else said)
            sys.stdout.flush()
        if over:
            return
        time.sleep(0.5)
