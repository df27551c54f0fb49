"""What a tracker is: something that keeps a run's numbers outside the run's folder, such as Aim or TensorBoard.

A run's own events are always written as JSON lines; trackers come on top. The one that a stage sees (``ctx.tracker``) is a
:class:`GuardedTracker`, so that a tracker that fails is reported once and left out while the run goes on.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


class GuardedTracker(Tracker):
    """Several trackers as one; the first failure of each is reported and leaves it out.

    Numbers also go to ``events`` as scalars, so that they are on disk, on the dashboard and in reports whatever trackers do.

    Args:
        trackers: Trackers by the name that messages use.
        events: Where numbers and failures are reported; ``None`` reports failures to the log only.
    """

    def __init__(self, trackers: Sequence[tuple[str, Tracker]] = (), events: EventSink | None = None) -> None:
        self._trackers = dict(trackers)
        self._events = events

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

    def _each(self, method: str, *arguments: Any) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:  # a seam: a tracker never ends a run
                del self._trackers[name]
                text = f"tracker {name!r} failed to {method} ({type(error).__name__}: {error}); it is left out from here on"
                logger.warning("%s", text)
                logger.debug("tracker %s", name, exc_info=True)
                if self._events is not None:
                    self._events.message(text, "warning")
