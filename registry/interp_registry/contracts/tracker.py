"""What a tracker is: something that keeps a run's numbers outside the run's folder, such as Aim or TensorBoard.

A run's own events are always written as JSON lines; trackers come on top. The one that a stage sees (``ctx.tracker``) is a
:class:`GuardedTracker`, so that a tracker that fails is reported once and left out while the run goes on.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from interp_registry.events import EventSink

__all__ = ["GuardedTracker", "TrackedRun", "Tracker"]

logger = logging.getLogger(__name__)

_MOST_OPEN = 10_000
"""Calls that may wait for a tracker; one that is further behind does not keep up, and its numbers fill the memory."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run when it starts.

    Attributes:
        name: Name of the run (that of its folder).
        stage: What runs, such as ``lens train``.
        folder: The run's folder.
        config: The resolved configuration as primitives (``draccus.encode``): no paths, no objects.
        offline: Whether the network must not be used.
    """

    name: str
    stage: str
    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    offline: bool = True


class Tracker(Protocol):
    """Keeps the numbers and pictures of one run. Built by ``TrackerConfig.build()``; deriving from it is optional."""

    def start(self, run: TrackedRun) -> None:
        """Begin to keep ``run``; called once, before anything else."""
        ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep named numbers at a step."""
        ...

    def image(self, name: str, png: bytes, step: int) -> None:
        """Keep a PNG picture at a step."""
        ...

    def close(self) -> None:
        """Finish: everything logged can be read by others afterwards."""
        ...


class _Worker:
    """A thread of its own for one tracker: its calls are made in order, and nobody has to wait for one that hangs."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[str, Callable[[], None]] | None] = queue.SimpleQueue()
        self._answered = threading.Condition()
        self._n_open, self._at, self._since = 0, "start", time.monotonic()
        self._failure: tuple[str, BaseException] | None = None
        threading.Thread(target=self._work, name=f"interp-tracker-{name}", daemon=True).start()

    def _work(self) -> None:
        while self._failure is None and (item := self._calls.get()) is not None:
            method, call = item
            failure = None
            with self._answered:
                self._at, self._since = method, time.monotonic()
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - a stranger's code, even if it asks to exit; the caller reports it
                failure = method, error
            with self._answered:
                self._n_open, self._failure = self._n_open - 1, failure
                self._answered.notify_all()

    def ask(self, method: str, call: Callable[[], None]) -> None:
        """Make a call after those before it, without waiting for it."""
        with self._answered:
            if not self._n_open:
                self._at, self._since = method, time.monotonic()
            self._n_open += 1
        self._calls.put((method, call))

    def end(self) -> None:
        """End the thread after the call that it is at."""
        self._calls.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait until all calls are made or one failed; False when that takes longer."""
        with self._answered:
            return self._answered.wait_for(lambda: self._n_open == 0 or self._failure is not None, seconds)

    def trouble(self, seconds: float, late: bool = False) -> tuple[str, BaseException] | None:
        """The method that failed, or has not come back in time, or is far behind, and how; None when all is well.

        Args:
            seconds: Time of one call.
            late: Whether the time for all calls is over.
        """
        with self._answered:
            if self._failure is None and self._n_open > _MOST_OPEN:
                return self._at, TimeoutError(f"{self._n_open} calls behind")
            if self._failure is None and self._n_open and (late or time.monotonic() - self._since > seconds):
                return self._at, TimeoutError(f"no answer within {seconds:g} s")
            return self._failure


class GuardedTracker(Tracker):
    """Several trackers as one; the first failure of each is reported and leaves it out, and so is one that hangs.

    Numbers also go to ``events`` as scalars, so that they are on disk, on the dashboard and in reports whatever trackers do. Only
    :meth:`start` and :meth:`close` wait for the trackers; numbers and pictures are handed over, and a slow tracker slows nothing.

    Args:
        trackers: Trackers by the name that messages use. Each is only ever called from one thread, which is not the caller's.
        events: Where numbers and failures are reported; ``None`` reports failures to the log only.
        patience: Seconds that one call of a tracker, and all that is left to do at the end, may take.
    """

    def __init__(
        self, trackers: Sequence[tuple[str, Tracker]] = (), events: EventSink | None = None, patience: float = 60.0
    ) -> None:
        self._trackers = dict(trackers)
        self._events = events
        self.patience = patience
        self._workers = {name: _Worker(name) for name in self._trackers}

    @property
    def names(self) -> tuple[str, ...]:
        """The trackers that still work."""
        return tuple(self._trackers)

    def writes_to(self, events: EventSink) -> bool:
        """Whether :meth:`log` also reports to ``events``, so that the caller must not do it again."""
        return self._events is events

    def start(self, run: TrackedRun) -> None:
        """Start every tracker."""
        self._each("start", run)
        self._wait()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep named numbers at a step, in the run's events and in every tracker."""
        if self._events is not None:
            for name, value in values.items():
                self._events.scalar(name, value, step)
        self._each("log", dict(values), step)

    def image(self, name: str, png: bytes, step: int) -> None:
        """Hand a picture to every tracker."""
        self._each("image", name, png, step)

    def close(self) -> None:
        """Close every tracker, once it has taken what it was given."""
        self._each("close")
        self._wait()
        for worker in self._workers.values():
            worker.end()

    def _each(self, method: str, *arguments: Any) -> None:
        for name, tracker in list(self._trackers.items()):
            trouble = self._workers[name].trouble(self.patience)
            if trouble is not None:
                self._leave_out(name, *trouble)
            else:
                self._workers[name].ask(method, partial(getattr(tracker, method), *arguments))

    def _wait(self) -> None:
        """Give all trackers together the time of one call."""
        until = time.monotonic() + self.patience
        for name in list(self._trackers):
            worker = self._workers[name]
            in_time = worker.wait(max(until - time.monotonic(), 0.0))
            trouble = worker.trouble(self.patience, late=not in_time)
            if trouble is not None:
                self._leave_out(name, *trouble)

    def _leave_out(self, name: str, method: str, error: BaseException) -> None:
        del self._trackers[name]
        self._workers[name].end()
        text = f"tracker {name!r} failed to {method} ({type(error).__name__}: {error}); it is left out from here on"
        logger.debug("tracker %s", name, exc_info=error)
        if self._events is None:
            logger.warning("%s", text)
        else:
            self._events.message(text, "warning")
