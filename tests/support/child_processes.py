"""Forked children for fault tests: they share the parent's memory as it was, and never return into pytest."""

import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable


def fork(function: Callable[[], object]) -> int:
    """Run a function in a child process; the child ends with 0, or with 1 when the function raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads; the children start none
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        function()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may get back into pytest
        traceback.print_exc()
    finally:
        os._exit(code)


def kill(pid: int) -> None:
    """Kill a child with SIGKILL; it may have ended before."""
    os.kill(pid, signal.SIGKILL)


def wait(pid: int) -> int:
    """Wait for a child: its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_all(pids: list[int]) -> list[int]:
    """Wait for several children: their exit codes."""
    return [wait(pid) for pid in pids]


def run_and_kill(function: Callable[[], object], seconds: float) -> bool:
    """Run a function in a child and kill it after some time; True when it had ended by itself, without error."""
    pid = fork(function)
    time.sleep(seconds)
    kill(pid)
    return wait(pid) == 0
