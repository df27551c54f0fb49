"""SIGINT and SIGTERM: a stage that asks whether to stop is given the time to; one that does not is interrupted at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["StopFlag", "stop_on_signals"]


class _Interrupted(KeyboardInterrupt):
    """What a signal raises: no library's ``except Exception`` stops it.

    A class of its own because of a quirk of CPython: a plain KeyboardInterrupt that passes through ``exec`` of a string, as
    in the making of a dataclass, makes ``python -m`` die of SIGINT in the end, whatever exit code the program chose.
    """


class StopFlag:
    """Set by the first signal once somebody has asked; before that, and by a second signal, the run is interrupted.

    A training loop asks at every step, so it finishes the step, writes a checkpoint and ends by itself.
    """

    def __init__(self) -> None:
        self.asked = False
        self.signum: int | None = None

    def __call__(self) -> bool:
        """Whether to stop at the next safe point; from now on the first signal only sets the flag."""
        self.asked = True
        return self.signum is not None

    def handle(self, signum: int, _: FrameType | None) -> None:
        """Take a signal."""
        first = self.signum is None
        self.signum = signum
        if not (self.asked and first):
            raise _Interrupted


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Handle SIGINT and SIGTERM inside the block; outside of the main thread nothing is changed."""
    flag = StopFlag()
    before: dict[int, object] = {}
    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            before[signum] = signal.signal(signum, flag.handle)
    except ValueError:
        before = {}
    try:
        yield flag
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)  # pyright: ignore[reportArgumentType]
