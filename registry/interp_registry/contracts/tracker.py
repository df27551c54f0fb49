"""What a tracker is: something that keeps a run's numbers outside the run's folder, such as Aim or TensorBoard.

A run's own events are always written as JSON lines; trackers come on top. The one that a stage sees (``ctx.tracker``) is a
:class:`GuardedTracker`, so that a tracker that fails is reported once and left out while the run goes on.
"""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from interp_registry.events import EventSink

__all__ = ["GuardedTracker", "TrackedRun", "Tracker"]

logger = logging.getLogger(__name__)


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
    """A thread of its own for one tracker: a call that hangs can be given up."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"interp-tracker-{name}", daemon=True).start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - handed to the caller
                self._answers.put(error)
            else:
                self._answers.put(None)

    def end(self) -> None:
        """End the thread after the call that it is at."""
        self._calls.put(None)

    def run(self, call: Callable[[], None], seconds: float) -> None:
        """Make a call and wait for it.

        Raises:
            TimeoutError: It did not end in time; the worker must not be used again.
        """
        self._calls.put(call)
        try:
            error = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no answer within {seconds:g} s") from None
        if error is not None:
            raise error


class GuardedTracker(Tracker):
    """Several trackers as one; the first failure of each is reported and leaves it out, and so is one that hangs.

    Numbers also go to ``events`` as scalars, so that they are on disk, on the dashboard and in reports whatever trackers do.

    Args:
        trackers: Trackers by the name that messages use. Each is only ever called from one thread, which is not the caller's.
        events: Where numbers and failures are reported; ``None`` reports failures to the log only.
        patience: Seconds that one call of a tracker may take.
    """

    def __init__(
        self, trackers: Sequence[tuple[str, Tracker]] = (), events: EventSink | None = None, patience: float = 60.0
    ) -> None:
        self._trackers = dict(trackers)
        self._events = events
        self._patience = patience
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

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep named numbers at a step, in the run's events and in every tracker."""
        if self._events is not None:
            for name, value in values.items():
                self._events.scalar(name, value, step)
        self._each("log", values, step)

    def image(self, name: str, png: bytes, step: int) -> None:
        """Hand a picture to every tracker."""
        self._each("image", name, png, step)

    def close(self) -> None:
        """Close every tracker."""
        self._each("close")
        for worker in self._workers.values():
            worker.end()

    def _each(self, method: str, *arguments: Any) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                self._workers[name].run(partial(getattr(tracker, method), *arguments), self._patience)
            except Exception as error:  # a seam: a tracker never ends a run
                del self._trackers[name]
                text = f"tracker {name!r} failed to {method} ({type(error).__name__}: {error}); it is left out from here on"
                logger.warning("%s", text)
                logger.debug("tracker %s", name, exc_info=True)
                if self._events is not None:
                    self._events.message(text, "warning")
