"""How the process starts and ends: libraries make half a million objects, in which Python looks for garbage and takes down each."""

import atexit
import gc
import os
import signal
import sys

__all__ = ["end_at_once", "imports_are_done", "start_quickly"]

_WHILE_IMPORTING = (100_000, 50, 1_000)
"""Thresholds of the garbage collector: modules are not garbage, and looking for some in them costs a quarter of their import."""

_NOT_WRITTEN = 120
"""Python's own exit code for output that could not be written in the end."""

_exit_code: int | None = None


def start_quickly() -> None:
    """Look for garbage rarely until :func:`imports_are_done`, and have the process end at once when all its exit functions have run.

    Call it first: functions that were registered with :mod:`atexit` before are not run.
    """
    gc.set_threshold(*_WHILE_IMPORTING)
    atexit.register(_end)


def imports_are_done() -> None:
    """Leave what was imported alone for good, and collect garbage as usual from now on."""
    if gc.get_threshold() == _WHILE_IMPORTING:
        gc.freeze()
        gc.set_threshold(700, 10, 10)


def end_at_once(code: int) -> None:
    """Exit with a code: threads are joined and exit functions run, but no module is taken down object by object."""
    global _exit_code  # noqa: PLW0603 - the function that ends the process was registered before the code was known
    _exit_code = code
    sys.exit(code)


def _end() -> None:
    code = _code_of_the_last_error() if _exit_code is None else _exit_code
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a full disk, nobody reads, or it was closed
            code = code or _NOT_WRITTEN
    os._exit(code)


def _code_of_the_last_error() -> int:
    return 128 + signal.SIGINT if getattr(sys, "last_type", None) is KeyboardInterrupt else 1
