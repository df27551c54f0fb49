"""Who wrote this, and is that process still there? Used to tell crashed runs and stale files from live ones."""

import os
import re
import socket
from pathlib import Path

__all__ = ["host_name", "process_alive", "process_start"]


def host_name() -> str:
    """This machine's name, reduced to letters, digits and dashes so that it can be part of a file name."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:64] or "localhost"


def process_start(pid: int) -> str | None:
    """When a process started, in clock ticks since boot, as Linux gives it; None elsewhere or when it is gone.

    Together with the process id it names a process for good: ids are used again, pairs are not (until a reboot).
    """
    fields = _stat_fields(pid)
    return fields[19] if fields is not None else None


def process_alive(pid: int, started: str | None = None) -> bool:
    """Whether a process of this machine is running; a zombie is not.

    Args:
        pid: Process id.
        started: What :func:`process_start` said when the process was alive; a different value now means another process.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    fields = _stat_fields(pid)
    if fields is None:
        return True
    return fields[0] != "Z" and (started is None or fields[19] == started)


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the name before it may hold spaces and parentheses."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
