"""What a run's events say so far, kept small: the state behind dashboards and ``interp watch``."""

import time
from collections import deque
from dataclasses import dataclass, field

from interp_registry.events import Event, HeatMapEvent, Message, Progress, Scalar, State
from interp_registry.figures import HeatMap

__all__ = ["Curve", "RunView", "Task"]

_KEPT_POINTS = 512
_RATE_SECONDS = 20.0
_KEPT_MESSAGES = 3


@dataclass
class Task:
    """How far one task is.

    Attributes:
        name: What is being done.
        done: Units finished.
        total: Units in all, if known.
        unit: What is counted.
        marks: (time, done) of the last reports, from which the rate comes.
    """

    name: str
    done: float = 0.0
    total: float | None = None
    unit: str = ""
    marks: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=64))

    def move(self, done: float, total: float | None, unit: str, now: float) -> None:
        """Take a report."""
        if done < self.done:
            self.marks.clear()
        self.done, self.total, self.unit = done, total, unit or self.unit
        if not self.marks or now - self.marks[-1][0] >= 0.2:
            self.marks.append((now, done))
            while len(self.marks) > 2 and now - self.marks[0][0] > _RATE_SECONDS:
                self.marks.popleft()

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self.total is not None and self.done >= self.total

    @property
    def rate(self) -> float | None:
        """Units per second over the last seconds; ``None`` before two reports."""
        if not self.marks or self.marks[-1][0] <= self.marks[0][0]:
            return None
        (start, first), (end, last) = self.marks[0], self.marks[-1]
        return (last - first) / (end - start)

    @property
    def eta(self) -> float | None:
        """Seconds left at this rate."""
        rate = self.rate
        if self.total is None or not rate:
            return None
        return max(self.total - self.done, 0.0) / rate


@dataclass
class Curve:
    """A scalar over steps, thinned to at most 512 points: every other one is dropped whenever it is full.

    Attributes:
        has_steps: Whether it was reported at more than one step; a number that came once has no curve.
    """

    name: str
    step: int = 0
    last: float = 0.0
    points: list[float] = field(default_factory=list)
    has_steps: bool = False
    _stride: int = 1
    _skipped: int = 0

    def add(self, value: float, step: int) -> None:
        """Take a value."""
        self.has_steps = self.has_steps or (bool(self.points) and step != self.step)
        self.step, self.last = step, value
        self._skipped += 1
        if self._skipped >= self._stride:
            self._skipped = 0
            self.points.append(value)
        if len(self.points) >= _KEPT_POINTS:
            self.points = self.points[::2]
            self._stride *= 2


class RunView:
    """Takes events one by one; :attr:`version` rises with each, so that a drawing knows when it is stale.

    Attributes:
        tasks: By name, in order of appearance.
        curves: By name, in order of appearance.
        heat_map: The one that changed last.
        messages: The last few.
        info: Facts that states reported: device, command, ...
        state: The last state.
        started: Time of the first event.
        updated: Time of the last event.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.curves: dict[str, Curve] = {}
        self.heat_map: HeatMap | None = None
        self.messages: deque[Message] = deque(maxlen=_KEPT_MESSAGES)
        self.info: dict[str, str] = {}
        self.state = ""
        self.detail = ""
        self.commands: list[str] = []
        self.started: float | None = None
        self.updated: float = 0.0
        self.version = 0

    def take(self, event: Event) -> None:
        """Take one event."""
        if self.started is None:
            self.started = event.time
        self.updated = max(self.updated, event.time)
        self.version += 1
        if isinstance(event, Progress):
            self.progress(event.task, event.done, event.total, event.unit, event.time)
        elif isinstance(event, Scalar):
            self.curves.setdefault(event.name, Curve(event.name)).add(event.value, event.step)
        elif isinstance(event, HeatMapEvent):
            self.heat_map = event.figure
        elif isinstance(event, Message):
            self.messages.append(event)
        elif isinstance(event, State):
            self._enter(event)

    def progress(self, task: str, done: float, total: float | None, unit: str, now: float | None = None) -> None:
        """Take a progress report without the cost of an event; for loops that report every step."""
        now = time.time() if now is None else now
        if self.started is None:
            self.started = now
        self.updated = now
        self.version += 1
        if task not in self.tasks:
            self.tasks[task] = Task(task)
        self.tasks[task].move(done, total, unit, now)

    def _enter(self, event: State) -> None:
        """A child run inside a run starts and ends in between; the outer command is the one that shows at last."""
        self.info |= event.info
        if event.state == "running" and self.commands and "command" not in event.info:
            return
        self.detail = event.detail
        if event.state == "running":
            self.commands.append(event.info.get("command", ""))
        elif event.is_final and self.commands:
            self.commands.pop()
        self.state = event.state if not self.commands else "running"

    @property
    def command(self) -> str:
        """What runs now; inside a run, the child that it started."""
        return next((command for command in reversed(self.commands) if command), self.info.get("command", ""))

    @property
    def current_task(self) -> Task | None:
        """The unfinished task that was reported last, else the last one."""
        open_tasks = [task for task in self.tasks.values() if not task.is_done]
        candidates = open_tasks or list(self.tasks.values())
        return max(candidates, key=lambda task: task.marks[-1][0] if task.marks else 0.0) if candidates else None

    @property
    def is_over(self) -> bool:
        """Whether the run ended."""
        return self.state in ("done", "failed", "interrupted")
