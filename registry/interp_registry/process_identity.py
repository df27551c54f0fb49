"""Who a process is, across machines and reuse of process numbers, and whether it still lives."""

import ctypes
import functools
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp_registry.stores.liveness import process_alive, process_start

__all__ = ["ProcessId", "die_with_parent", "start_detached", "this_process"]

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number.

    Attributes:
        host: Name of the machine.
        boot: What tells this boot and process namespace of the machine from others.
        pid: Process number.
        start: Start time in clock ticks since boot; empty where the system does not tell.
    """

    host: str
    boot: str
    pid: int
    start: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """The process that has this number now."""
        host, boot = _machine()
        return cls(host, boot, pid, process_start(pid) or "")

    def here(self) -> bool:
        """Whether it runs, or ran, on this machine since it was started."""
        return (self.host, self.boot) == _machine()

    def known_dead(self) -> bool:
        """Whether the process certainly has ended; False also when that cannot be known from here."""
        if not self.here():
            return False
        return not process_alive(self.pid, self.start or None)


def this_process() -> ProcessId:
    """The identity of the calling process."""
    return ProcessId.of(os.getpid())


@functools.cache
def _machine() -> tuple[str, str]:
    boot, namespace = "", ""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    return platform.node(), f"{boot}/{namespace}"


def start_detached(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> ProcessId:
    """Start a process that lives on when this one and its terminal are gone.

    Args:
        command: Program and arguments.
        log: File that its output is appended to.
        environment: Its variables; those of this process by default.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - arguments as a list; callers start this tool's own modules
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
        )
    threading.Thread(target=process.wait, daemon=True, name=f"reaper of {process.pid}").start()
    return ProcessId.of(process.pid)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, so that no task outlives the agent that answers for it.

    Linux only; elsewhere nothing happens, and a task whose agent was killed runs to its end.

    Args:
        parent: The process number that the parent had when it started this one.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
