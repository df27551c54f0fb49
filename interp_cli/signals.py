"""SIGINT and SIGTERM: a stage that asks whether to stop is given the time to; one that does not is interrupted at once."""

import _weakrefset
import math
import signal
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Interruption", "StopFlag", "stop_on_signals"]


class Interruption(KeyboardInterrupt):
    """What a signal raises: no library's ``except Exception`` stops it.

    A class of its own because of a quirk of CPython: a plain KeyboardInterrupt that passes through ``exec`` of a string, as
    in the making of a dataclass, makes ``python -m`` die of SIGINT in the end, whatever exit code the program chose.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int = signal.SIGINT) -> None:
        self.signum = signum
        super().__init__()


_LEAST_SECONDS, _MOST_SECONDS = 10.0, 600.0
"""Limits of the time in which a stage that asks whether to stop must ask again."""


_SOON = 0.01
"""Seconds after which an interruption is tried again that fell where exceptions are lost."""


_LOSING_METHODS = ("__del__", "__set_name__")
"""Python prints what is raised in the first and goes on; of what is raised in the second, 3.11 makes a RuntimeError."""


_WEAK_REFERENCES = (weakref.finalize.__call__.__code__.co_filename, _weakrefset.WeakSet.add.__code__.co_filename)
"""The files of their callbacks."""


class StopFlag:
    """Set by the first signal while somebody asks; else, by a second signal, and when nobody asks in time, the run is interrupted.

    A training loop asks at every step, so it finishes the step, writes a checkpoint and ends by itself. Its time is twice the longest
    that lay between two questions: a step that takes longer hangs, say in a plugin, and a scheduler kills what does not end.
    """

    def __init__(self, outer: "StopFlag | None" = None) -> None:
        self.signum: int | None = None
        self._outer = outer
        self._asked_at = -math.inf
        self._seconds = _LEAST_SECONDS
        self._alarm_before: Any = None

    def __call__(self) -> bool:
        """Whether to stop at the next safe point; for some time from now on the first signal only sets the flag."""
        now, before = time.monotonic(), self._asked_at
        if math.isfinite(before):
            self._seconds = min(max(self._seconds, 2 * (now - before)), _MOST_SECONDS)
        self._asked_at = now
        self.stop_alarm()
        return self.signum is not None

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Take a signal, or the alarm that was set by the first one."""
        first = self.signum is None
        if signum != signal.SIGALRM:
            self._note(signum)
        if first and time.monotonic() - self._asked_at < self._seconds:
            self._set_alarm(self._seconds)
        elif _exceptions_are_lost(frame):
            self._set_alarm(_SOON)
        else:
            raise Interruption(self.signum or signal.SIGINT)

    def _set_alarm(self, seconds: float) -> None:
        before = signal.signal(signal.SIGALRM, self.handle)
        if self._alarm_before is None:
            self._alarm_before = before
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def stop_alarm(self) -> None:
        """Take back the alarm, if the first signal set one."""
        if self._alarm_before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._alarm_before)
            self._alarm_before = None

    def _note(self, signum: int) -> None:
        self.signum = signum
        if self._outer is not None:
            self._outer._note(signum)


def _exceptions_are_lost(frame: FrameType | None) -> bool:
    """Whether Python would not pass an exception on: in methods that it calls itself, and when weak references die."""
    while frame is not None and not (
        frame.f_code.co_name in _LOSING_METHODS or frame.f_code.co_filename in _WEAK_REFERENCES
    ):
        frame = frame.f_back
    return frame is not None


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Handle SIGINT and SIGTERM inside the block; outside of the main thread nothing is changed.

    Blocks may stand in one another: the signal goes to the inner one, and all know of it.
    """
    outer = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    flag = StopFlag(outer if isinstance(outer, StopFlag) else None)
    before: dict[int, Any] = {}
    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            before[signum] = signal.signal(signum, flag.handle)
    except ValueError:
        before = {}
    try:
        yield flag
    finally:
        if before:
            flag.stop_alarm()
        for signum, handler in before.items():
            signal.signal(signum, handler)
