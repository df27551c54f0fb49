"""How the process starts and ends: libraries make half a million objects, in which Python looks for garbage and takes down each."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["exit_code_kept", "imports_are_done", "start_quickly"]

_WHILE_IMPORTING = (100_000, 50, 1_000)
"""Thresholds of the garbage collector: modules are not garbage, and looking for some in them costs a quarter of their import."""

_NOT_WRITTEN = 120
"""Python's own exit code for output that could not be written in the end."""

_usual = gc.get_threshold()
_exit_code = 1


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
        gc.set_threshold(*_usual)


@contextmanager
def exit_code_kept() -> Iterator[None]:
    """Note the exit code of a block that is left by :func:`sys.exit`, for the process to end with."""
    global _exit_code  # noqa: PLW0603 - the function that ends the process is called without arguments
    try:
        yield
    except SystemExit as stop:
        _exit_code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise


def _end() -> None:
    code = _exit_code
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a full disk, nobody reads, or it was closed
            code = code or _NOT_WRITTEN
    os._exit(code)
