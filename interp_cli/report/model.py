"""What a report shows of a run, and how it is read from the run's folder."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from interp_cli.report.visible import shorten
from interp_registry.contracts.method import Failure, Result
from interp_registry.errors import CorruptError
from interp_registry.events import Event, HeatMapEvent, Message, Scalar, State, TableEvent, read_events
from interp_registry.figures import Figure, Lines, Series, Table, figure_from_json
from interp_registry.stores.records import read_record
from interp_registry.stores.run import Run

__all__ = ["RunReport", "flatten", "read_report", "short_command"]

_RESULT_FIELDS = ("scalars", "tables", "figures", "artifacts", "failures")
_MAX_POINTS = 2000
_TITLE_WIDTH = 72


@dataclass
class RunReport:
    """One run as the report sees it.

    Attributes:
        title: Heading of the run.
        config: The resolved configuration.
        environment: Versions, device, command, inputs: where the result comes from; nested mappings.
        result: What the run found.
        events: What it said while it ran.
        lead: Sentences that stand above everything else, such as how far the numbers may be trusted.
        folder: The run's folder, if it has one.
    """

    title: str
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    result: Result = field(default_factory=Result)
    events: Sequence[Event] = ()
    lead: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def state(self) -> str:
        """The last state that was reported; empty when none was."""
        return next((event.state for event in reversed(self.events) if isinstance(event, State)), "")

    @property
    def seconds(self) -> float | None:
        """Time between the first and the last event."""
        return self.events[-1].time - self.events[0].time if self.events else None

    @property
    def warnings(self) -> list[str]:
        """Warnings and errors that the run reported, each once."""
        texts = [
            event.text for event in self.events if isinstance(event, Message) and event.level in ("warning", "error")
        ]
        return list(dict.fromkeys(texts))

    @property
    def figures(self) -> list[Figure]:
        """The result's figures; then curves of the scalars, and heat maps that the result does not show.

        Heat maps called ``live/...`` are for dashboards only.
        """
        shown = list(self.result.figures)
        titles = {figure.title for figure in shown}
        kept = [e for e in self.events if isinstance(e, HeatMapEvent) and not e.name.startswith("live/")]
        latest = {event.name: event.figure for event in kept}
        return shown + _curves(self.events) + [figure for figure in latest.values() if figure.title not in titles]

    @property
    def tables(self) -> list[Table]:
        """The result's tables, and the last state of tables that were only reported as events."""
        shown = list(self.result.tables)
        titles = {table.title for table in shown}
        latest = {event.name: event.table for event in self.events if isinstance(event, TableEvent)}
        return shown + [table for name, table in latest.items() if table.title not in titles and name not in titles]


def _curves(events: Sequence[Event]) -> list[Figure]:
    """One plot for each group of scalars (``loss/...``) that has more than one step; memory samples are left out."""
    values: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for event in events:
        if isinstance(event, Scalar) and not event.name.startswith("system/"):
            group = event.name.partition("/")[0]
            values.setdefault(group, {}).setdefault(event.name, []).append((event.step, event.value))
    figures: list[Figure] = []
    for group, curves in values.items():
        series = [_series(name, points) for name, points in curves.items() if len({step for step, _ in points}) > 1]
        if series:
            figures.append(Lines(tuple(series), x_title="step", y_title=group, title=f"{group} over steps"))
    return figures


def _series(name: str, points: list[tuple[float, float]]) -> Series:
    stride = -(-len(points) // _MAX_POINTS)
    kept = points[::stride] if (len(points) - 1) % stride == 0 else [*points[::stride], points[-1]]
    x, y = zip(*kept, strict=True)
    return Series(name, x, y)


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys and values as text; lists of plain values stay together."""
    flat: dict[str, str] = {}
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return flat


def read_report(run: Run) -> RunReport:
    """The report of a run, finished or not.

    A result may carry a ``title`` and ``lead`` sentences for its report in ``data``.

    Raises:
        CorruptError: If one of its files cannot be read.
    """
    environment = run.path / "environment.json"
    provenance: dict[str, Any] = {
        "command": shlex.join(run.record.get("argv", [])),
        "started": run.record.get("created", ""),
        **run.record.get("details", {}),
        **(read_record(environment) if environment.exists() else {}),
    }
    provenance.pop("argv", None)
    result = _result(run.result or {}, run.path)
    title, lead = result.data.get("title"), result.data.get("lead")
    return RunReport(
        title=title if isinstance(title, str) else short_command(run.record.get("argv") or ["interp", run.command]),
        config=run.config,
        environment=provenance,
        result=result,
        events=list(read_events(run.events)),
        lead=tuple(map(str, lead)) if isinstance(lead, list) else (),
        folder=run.path,
    )


def short_command(words: Sequence[str]) -> str:
    """A command with what it was given by position, without its options: "interp spd run tms_5-2"."""
    return shorten(" ".join(takewhile(lambda word: not word.startswith("-"), words)), _TITLE_WIDTH)


def _result(data: Mapping[str, Any], folder: Path) -> Result:
    try:
        return Result(
            scalars=dict(data.get("scalars", {})),
            tables=[Table.from_json(table) for table in data.get("tables", [])],
            figures=[figure_from_json(figure) for figure in data.get("figures", [])],
            artifacts=[Path(artifact) for artifact in data.get("artifacts", [])],
            failures=[Failure(**failure) for failure in data.get("failures", [])],
            data={key: value for key, value in data.items() if key not in _RESULT_FIELDS},
        )
    except (CorruptError, TypeError) as error:
        raise CorruptError(f"{folder / 'result.json'} does not hold a result: {error}") from error
