"""Say what a run waits for when it gave no news for a while. A slow plugin cannot be told from one that hangs: nothing is ended."""

import inspect
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from interp_registry.events import Event, EventSink, Message, Scalar
from interp_registry.patience import patience

__all__ = ["Silence", "work_in_progress"]

_OWN = ("interp_cli", "interp_registry", "interp_plugins")
_STANDARD = sysconfig.get_path("stdlib")
_INSTALLED = sysconfig.get_path("purelib")


class Silence(EventSink):
    """Takes a run's events and knows for how long there were none; samples of memory and warnings are no news.

    A silence is told once; the next one must last twice as long, so that a run that is slow by nature says so a few times only.
    """

    def __init__(self) -> None:
        self.patience = patience()
        self._lock = threading.Lock()
        self._heard, self._told = time.monotonic(), False

    def emit(self, event: Event) -> None:
        """Take one event."""
        is_sample = isinstance(event, Scalar) and event.name.startswith("system/")
        if not is_sample and not isinstance(event, Message):
            self._heard, self._told = time.monotonic(), False

    def progress(self, task: str, done: float, total: float | None = None, unit: str = "") -> None:  # noqa: ARG002
        """Take a progress report."""
        self._heard, self._told = time.monotonic(), False

    def warning(self) -> str | None:
        """What to say of a silence that has just become long; None while there is news, and when it was said before."""
        with self._lock:
            seconds = time.monotonic() - self._heard
            if self._told or seconds < self.patience:
                return None
            self._told, self.patience = True, 2 * self.patience
        return (
            f"no news for {seconds:.0f} s; waiting for {work_in_progress()}; Ctrl-C ends the run, and it can be resumed"
        )


def work_in_progress() -> str:
    """What this process is busy with, in words: the code outside of this tool that it called last, else the place in the tool.

    Read off the stacks of its threads; the main thread may be waiting for another one that reads samples.
    """
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - the one way to see other threads
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    stacks = [(ident == main, list(_outwards(frame))) for ident, frame in frames.items() if _works(names.get(ident))]
    called = [(is_main, *found) for is_main, stack in stacks if (found := _called(stack)) is not None]
    for _, frame, caller in sorted(called, key=lambda item: item[0]):
        return f"{_place(frame)}{_subject(frame)}, called by {_place(caller)}"
    own = next((frame for is_main, stack in stacks if is_main for frame in stack if _module(frame) in _OWN), None)
    return "the run" if own is None else _place(own)


def _works(thread: str | None) -> bool:
    """Whether a thread is one that computes: not the tool's own that watch, draw or log."""
    return thread is not None and not thread.startswith("interp-")


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _called(stack: list[FrameType]) -> tuple[FrameType, FrameType] | None:
    """The foreign function at work and the tool's function that called it; None where the tool itself is at work, or waits."""
    at = next((index for index, frame in enumerate(stack) if _module(frame) in _OWN), 0)
    foreign = next((frame for frame in reversed(stack[:at]) if not _is_standard(frame)), None)
    return None if foreign is None else (foreign, stack[at])


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_standard(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return path.startswith((_STANDARD, "<")) and not path.startswith(_INSTALLED)


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_qualname} ({Path(code.co_filename).name}, line {frame.f_lineno})"


def _subject(frame: FrameType) -> str:
    """The name of the object at work and the index that it was asked for, where they can be seen without running its code."""
    local = frame.f_locals
    name = inspect.getattr_static(local.get("self"), "name", None)
    index = local.get("index")
    words = [f"of {name!r}"] if isinstance(name, str) else []
    words += [f"sample {index}"] if isinstance(index, int) else []
    return f" {', '.join(words)}" if words else ""
