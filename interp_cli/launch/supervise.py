"""Run one task of a launch as a child process, answer for it, and record how it ended.

The supervisor holds the task's lease and touches it while the command runs. It passes signals on as SIGTERM, waits for the command to
leave a consistent state, and then gives the lease back, so that the task can be started again. It imports nothing heavy.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from types import FrameType
from typing import Any

from interp_cli.launch.folder import Ended, LaunchFolder
from interp_cli.launch.leases import BEAT_SECONDS, Lease
from interp_cli.launch.run_file import VARIABLE

__all__ = ["INTERRUPTED", "REQUEUED", "Inbox", "Queue", "supervise"]

_log = logging.getLogger(__name__)

INTERRUPTED = 143
"""Exit code of a supervisor that was asked to end and gave its task back."""

REQUEUED = 85
"""Exit code of a supervisor that asked the queue to start its task again."""

_STOP_SECONDS = 30.0
_ERROR_CHARACTERS = 300
_ERROR_LINES = 6


class Inbox:
    """Signals that this process received, noted by handlers that do nothing else."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.signum: int | None = None

    def install(self) -> None:
        """Note SIGTERM, SIGINT and SIGUSR2 from now on."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(signum, self._note)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
        self.wake.set()

    def wait(self, seconds: float) -> None:
        """Sleep until something happens, at most so long."""
        self.wake.wait(seconds)
        self.wake.clear()


@dataclass(frozen=True)
class Queue:
    """The queue's job that this process runs in; all empty without a queue.

    Attributes:
        job: The queue's name of the job.
        restart: How often the queue started it again.
        log: File that the queue writes this process's output to.
    """

    job: str = ""
    restart: int = 0
    log: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Queue":
        """Read what a launcher's script sets: INTERP_JOB_ID, INTERP_JOB_RESTART, INTERP_LOG."""
        restart = environment.get("INTERP_JOB_RESTART", "")
        return cls(
            environment.get("INTERP_JOB_ID", ""),
            int(restart) if restart.isdigit() else 0,
            environment.get("INTERP_LOG", ""),
        )


def supervise(folder: LaunchFolder, lease: Lease, inbox: Inbox, queue: Queue) -> int:
    """Run the leased task to its end, or until a signal or another process takes it away.

    Returns:
        The command's exit code; :data:`INTERRUPTED` or :data:`REQUEUED` when the task was given back.
    """
    task, started = lease.info.task, _now()
    description = folder.describe()
    with _output(lease.info.log, queue) as output:
        child = _start(folder, task, description, output)
        code, held = _watch(child, lease, inbox, _patience(description, inbox))
    if not held:
        _log.warning("task %d was taken over by another process", task)
        return INTERRUPTED
    if inbox.signum is not None and code != 0:
        return _give_back(folder, lease, inbox.signum, description)
    ended = Ended(
        task, "done" if code == 0 else "failed", code, lease.info.generation, started, _now(), socket.gethostname(),
        queue.job, lease.info.log, _run_folder(folder, task), "" if code == 0 else _last_words(Path(lease.info.log)),
    )  # fmt: skip
    if lease.held():
        folder.end(ended)
        lease.release("ended")
    return code if code >= 0 else 128 - code


def _start(folder: LaunchFolder, task: int, description: Mapping[str, Any], output: Any) -> "subprocess.Popen[bytes]":
    environment = {**description.get("environment", {}), **os.environ, VARIABLE: str(_run_file(folder, task))}
    environment |= {"INTERP_LAUNCH_ID": folder.id, "INTERP_TASK": str(task)}
    command = [
        sys.executable,
        "-P",
        "-m",
        "interp_cli.launch.task_process",
        str(folder.path),
        str(task),
        str(os.getpid()),
    ]
    cwd = description.get("cwd")
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module; the task's arguments stay in the folder
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment,
        cwd=cwd if cwd and Path(cwd).is_dir() else None, process_group=0,
    )  # fmt: skip


@contextlib.contextmanager
def _output(log: str, queue: Queue) -> Iterator[Any]:
    """Where the command's output goes: this process's own output inside a queue, else the log."""
    if queue.log or not log:
        yield None
        return
    with Path(log).open("ab") as target:
        yield target


def _watch(child: "subprocess.Popen[bytes]", lease: Lease, inbox: Inbox, patience: float) -> tuple[int, bool]:
    """Wait for the child; returns its exit code and whether the lease is still held."""
    threading.Thread(target=_wake_at_end, args=(child, inbox), daemon=True).start()
    deadline = float("inf")
    while child.poll() is None:
        inbox.wait(BEAT_SECONDS)
        if not lease.beat():
            _kill_group(child)
            return child.wait(), False
        if inbox.signum is not None and deadline == float("inf"):
            child.terminate()
            deadline = time.monotonic() + patience
        elif time.monotonic() > deadline:
            _kill_group(child)
    return child.wait(), True


def _wake_at_end(child: "subprocess.Popen[bytes]", inbox: Inbox) -> None:
    child.wait()
    inbox.wake.set()


def _kill_group(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _patience(description: Mapping[str, Any], inbox: Inbox) -> float:
    """Seconds that the command gets to stop: most of what the queue leaves before the time limit."""
    seconds = float(description.get("launcher", {}).get("interrupt_seconds", 0))
    return max(_STOP_SECONDS, seconds - _STOP_SECONDS) if inbox.signum != signal.SIGTERM else _STOP_SECONDS


def _give_back(folder: LaunchFolder, lease: Lease, signum: int, description: Mapping[str, Any]) -> int:
    """Release the lease; at the time limit, ask the queue to start the task again."""
    requeue = description.get("launcher", {}).get("requeue_command") or []
    lease.release(f"signal {signal.Signals(signum).name}")
    if signum != signal.SIGUSR2 or not requeue:
        return INTERRUPTED
    command = [Template(word).safe_substitute(os.environ) for word in requeue]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the launcher's own words
    if answer.returncode <= 0:  # below: the queue killed this command too, with the job that it starts again
        return REQUEUED
    words = (answer.stderr or answer.stdout).strip().replace("\n", " ")
    error = f"the time limit came and `{' '.join(command)}` failed: {words}"
    folder.end(
        Ended(lease.info.task, "failed", None, lease.info.generation, ended=_now(), log=lease.info.log, error=error)
    )
    return 1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _run_file(folder: LaunchFolder, task: int) -> Path:
    return folder.path / "state" / f"{task}.run"


def _run_folder(folder: LaunchFolder, task: int) -> str:
    path = _run_file(folder, task)
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _last_words(log: Path) -> str:
    """The last error message among the output's last lines, or else the last line that says something."""
    if not log.is_file():
        return ""
    with log.open("rb") as source:
        source.seek(max(0, source.seek(0, os.SEEK_END) - 8192))
        lines = source.read().decode("utf-8", errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("error ") for line in said[-_ERROR_LINES:] if line.startswith("error ")]
    return (errors or said or [""])[-1][:_ERROR_CHARACTERS]
