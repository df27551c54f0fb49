"""Make the k-th system call of a piece of code fail, or end the process there."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interp_registry.stores import artifact

CALLS = ("open", "close", "fsync", "link", "unlink", "rename", "replace", "mkdir", "rmdir")
"""The functions of :mod:`os` that are counted; writing, flushing and seeking in open files are counted as well."""


class SystemCalls:
    """Counts system calls, and lets the one of a given number fail.

    Attributes:
        names: What was called, in order.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._fail_at: int | None = None
        self._act: Callable[[], None] = lambda: None

    def _tick(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self._fail_at:
            self._act()

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted under a name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._tick(name)
            return function(*args, **kwargs)

        return call

    @contextmanager
    def failing_at(self, number: int | None, act: Callable[[], None]) -> Iterator[None]:
        """Count the calls of a block; ``act`` at the one of this number."""
        self.names, self._fail_at, self._act = [], number, act
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self.counted(name, getattr(os, name)))
            patch.setattr(artifact, "open", lambda *a, **k: _File(self, open(*a, **k)), raising=False)  # noqa: PTH123, SIM115
            opened = Path.open
            patch.setattr(Path, "open", lambda *a, **k: self._opened(opened, *a, **k))
            yield

    def _opened(self, opened: Callable[..., Any], path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "w" not in mode:
            return opened(path, mode, *args, **kwargs)
        self._tick("open")
        return _File(self, opened(path, mode, *args, **kwargs))


class _File:
    """An open file whose writing is counted."""

    def __init__(self, calls: SystemCalls, file: Any) -> None:
        self._file = file
        for name in ("write", "flush", "seek"):
            setattr(self, name, calls.counted(name, getattr(file, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def fail(number: int = errno.ENOSPC) -> Callable[[], None]:
    """An act: raise the error of a full disk, or another."""

    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


def end() -> None:
    """An act: end the process at once, without any clean-up."""
    os._exit(9)
