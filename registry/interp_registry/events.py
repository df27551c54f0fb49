"""The closed set of Events that a run emits, and how they are written to and read from ``events.jsonl``.

Dashboards, ``interp watch`` and reports read nothing but these. An event is one JSON line with ``kind``, ``v`` and
``time`` (seconds since 1970). A line is written with one call on a line-buffered file, so a killed process leaves at
most one torn line: readers pass over it, and a writer that continues the file ends it first. Kinds that a reader does
not know (written by a newer version) are passed over too.
"""

import json
import logging
import threading
import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from interp_registry.errors import InterpError
from interp_registry.figures import HeatMap, Table
from interp_registry.json_values import JsonValue
from interp_registry.records import Record
from interp_registry.stores.artifact import translated
from interp_registry.stores.environment import redact, secret_values

__all__ = [
    "EVENTS_VERSION",
    "Event",
    "EventReader",
    "EventSink",
    "FanOut",
    "HeatMapEvent",
    "JsonlSink",
    "MemorySink",
    "Message",
    "NullSink",
    "Progress",
    "Scalar",
    "State",
    "TableEvent",
    "event_from_json",
    "follow_events",
    "read_events",
]

logger = logging.getLogger(__name__)

EVENTS_VERSION = 1
"""Raised whenever a kind or a field is added."""


@dataclass(frozen=True, kw_only=True)
class Event(Record):
    """Base of all events; ``time`` is seconds since 1970, UTC."""

    kind: ClassVar[str] = ""

    time: float = field(default_factory=clock.time)

    def to_json(self) -> dict[str, JsonValue]:
        """A strict JSON object with ``kind``, ``v``, ``time`` and the fields that differ from their defaults."""
        return {"kind": self.kind, "v": EVENTS_VERSION, **super().to_json()}


@dataclass(frozen=True)
class Progress(Event):
    """``done`` of ``total`` units of a task are finished; ``total`` is ``None`` when it is not known."""

    kind: ClassVar[str] = "progress"

    task: str
    done: float
    total: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Scalar(Event):
    """A number that changes over the steps of a run; names with a ``/`` are grouped (``loss/train``)."""

    kind: ClassVar[str] = "scalar"

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class TableEvent(Event):
    """The present state of a table; a later one of the same name replaces it."""

    kind: ClassVar[str] = "table"

    name: str
    table: Table


@dataclass(frozen=True)
class HeatMapEvent(Event):
    """The present state of a heat map; a later one of the same name replaces it."""

    kind: ClassVar[str] = "heat_map"

    name: str
    figure: HeatMap


@dataclass(frozen=True)
class State(Event):
    """The run enters a state; ``info`` holds facts about it, such as ``{"device": "cpu", "threads": "2"}``."""

    kind: ClassVar[str] = "state"

    state: Literal["created", "running", "done", "failed", "interrupted"]
    detail: str = ""
    info: dict[str, str] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether nothing follows unless the run is resumed."""
        return self.state in ("done", "failed", "interrupted")


@dataclass(frozen=True)
class Message(Event):
    """A sentence for the person who watches."""

    kind: ClassVar[str] = "message"

    text: str
    level: Literal["debug", "info", "warning", "error"] = "info"


_KINDS: dict[str, type[Event]] = {cls.kind: cls for cls in (Progress, Scalar, TableEvent, HeatMapEvent, State, Message)}


def event_from_json(data: dict[str, Any]) -> Event | None:
    """The event that ``Event.to_json`` wrote, or ``None`` for a kind that this version does not know.

    Raises:
        CorruptError: If the kind is known and a field does not fit.
    """
    cls = _KINDS.get(str(data.get("kind")))
    return None if cls is None else cls.from_json(data)


class EventSink(Protocol):
    """Where a run's events go. A class that derives from it writes :meth:`emit` and inherits the rest."""

    def emit(self, event: Event) -> None:
        """Take one event."""
        ...

    def close(self) -> None:
        """Release what the sink holds; it takes no more events."""

    def progress(self, task: str, done: float, total: float | None = None, unit: str = "") -> None:
        """Say how far a task is."""
        self.emit(Progress(task, done, total, unit))

    def scalar(self, name: str, value: float, step: int = 0) -> None:
        """Report a number at a step."""
        self.emit(Scalar(name, value, step))

    def table(self, name: str, table: Table) -> None:
        """Replace the table called ``name``."""
        self.emit(TableEvent(name, table))

    def heat_map(self, name: str, values: Any, **fields: Any) -> None:
        """Replace the heat map called ``name`` by a :class:`HeatMap`, or by numbers with its other ``fields``."""
        described: dict[str, Any] = {"title": name, **fields}
        figure = values if isinstance(values, HeatMap) else HeatMap(values, **described)
        self.emit(HeatMapEvent(name, figure))

    def state(self, state: str, detail: str = "", info: dict[str, str] | None = None) -> None:
        """Say which state the run enters: created, running, done, failed or interrupted."""
        self.emit(State(state, detail, info or {}))  # type: ignore[arg-type]

    def message(self, text: str, level: str = "info") -> None:
        """Tell the person who watches something."""
        self.emit(Message(text, level))  # type: ignore[arg-type]


class NullSink(EventSink):
    """Drops every event; for library use."""

    def emit(self, event: Event) -> None:
        """Drop the event."""


class MemorySink(EventSink):
    """Keeps every event in :attr:`events`; for tests and notebooks."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)


class FanOut(EventSink):
    """Hands every event to several sinks, in order."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self.sinks = list(sinks)

    def emit(self, event: Event) -> None:
        """Hand the event on."""
        for sink in self.sinks:
            sink.emit(event)

    def progress(self, task: str, done: float, total: float | None = None, unit: str = "") -> None:
        """Hand the report on, so that each sink may thin it in its own way."""
        for sink in self.sinks:
            sink.progress(task, done, total, unit)

    def close(self) -> None:
        """Close every sink."""
        for sink in self.sinks:
            sink.close()


class JsonlSink(EventSink):
    """Appends events to a JSON-lines file, from any thread.

    A task's progress is written at most every ``progress_interval`` seconds (its last unit always is), so that a loop
        may report each step:
    a report that is not written costs about a microsecond.

    Args:
        path: The file; its folder must exist. An existing file is continued, and a torn last line ended first.
        progress_interval: Least number of seconds between two written progress events of one task.
    """

    def __init__(self, path: Path, progress_interval: float = 0.1) -> None:
        self.path = path
        self.progress_interval = progress_interval
        self._lock = threading.Lock()
        self._written: dict[str, float] = {}
        self._secrets = secret_values()
        torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
        self._file = path.open("a", encoding="utf-8", buffering=1)
        if torn:
            self._file.write("\n")

    def emit(self, event: Event) -> None:
        """Append one line.

        Raises:
            ResourceError: The disk is full.
        """
        line = json.dumps(event.to_json(), allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"
        with self._lock:
            if not self._file.closed:
                with translated(self.path):
                    self._file.write(redact(line, self._secrets))

    def progress(self, task: str, done: float, total: float | None = None, unit: str = "") -> None:
        """Append a progress line unless one of this task was written a moment ago and work is left."""
        now = clock.monotonic()
        if done != total and now - self._written.get(task, -1e9) < self.progress_interval:
            return
        self._written[task] = now
        self.emit(Progress(task, done, total, unit))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _parse(line: bytes, path: Path) -> Event | None:
    try:
        data = json.loads(line)
        return event_from_json(data) if isinstance(data, dict) else None
    except (ValueError, RecursionError, InterpError) as error:
        logger.debug("%s: passed over a line that is not an event: %s", path, error)
        return None


def read_events(path: Path) -> Iterator[Event]:
    """The events in a file, oldest first; torn lines and unknown kinds are passed over, a missing file is empty."""
    if not path.is_file():  # a pipe in a folder that came from elsewhere would be waited for
        return
    with path.open("rb") as file:
        for line in file:
            event = _parse(line, path) if line.strip() else None
            if event is not None:
                yield event


class EventReader:
    """Reads an events file as it grows; what is handed out once does not come again.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def new(self) -> list[Event]:
        """The events in whole lines written since the last call; everything again when the file shrank."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            if file.seek(0, 2) < self._offset:
                self._offset = 0
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        events = (_parse(line, self.path) for line in whole.split(b"\n") if line.strip())
        return [event for event in events if event is not None]


def follow_events(path: Path, poll: float = 0.25, stop: Callable[[], bool] = lambda: False) -> Iterator[Event | None]:
    """The events in a file and then new ones as they are written; ``None`` whenever nothing new is there.

    Ends after a final :class:`State` with nothing behind it, or when ``stop()`` is true. Waits for a file that does not
    exist yet.

    Args:
        path: The file to follow.
        poll: Seconds between two looks.
        stop: Asked at each look.
    """
    reader, final = EventReader(path), False
    while not stop():
        events = reader.new()
        yield from events
        final = final if not events else isinstance(events[-1], State) and events[-1].is_final
        if final:
            return
        if not events:
            yield None
            clock.sleep(poll)
