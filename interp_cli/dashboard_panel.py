"""The dashboard's picture of a run: one renderable whose costly parts are drawn only when their data changed."""

import math
import time
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from interp_cli.report.terminal import sparkline
from interp_cli.report.terminal_heat_map import heat_map_text
from interp_cli.report.visible import shorten
from interp_cli.run_view import Curve, RunView, Task
from interp_registry.plots.scale import number_text

__all__ = ["Panel", "clock_text", "plain_line", "rate_text"]

_STATE_STYLES = {"done": "bold green", "failed": "bold red", "interrupted": "bold yellow"}
_MAX_TASKS = 6
_BAR = 28
_LONGEST_UNIT = 24


class Panel:
    """Renders a :class:`~interp_cli.run_view.RunView`.

    Attributes:
        heat_maps_drawn: How often a heat map was really drawn; it stays when the same one is shown again.
    """

    def __init__(self, view: RunView, now: "float | None" = None) -> None:
        self.view = view
        self.heat_maps_drawn = 0
        self._now = now
        self._heat_map_key: tuple[object, int] | None = None
        self._heat_map_lines: list[list[Segment]] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lines of the whole dashboard, as many as the terminal has room for."""
        width, height = options.max_width, max(console.height - 2, 4)
        lines = [self._head(), *self._tasks(width)]
        room = height - len(lines) - len(self.view.messages)
        lines += self._curves(width, room)
        heat_map = self._heat_map(
            console, options.update(height=None), height - len(lines) - len(self.view.messages) - 2
        )
        yield from (
            Text(line.plain, style=line.style, spans=line.spans, no_wrap=True, overflow="ellipsis") for line in lines
        )
        for segments in heat_map:
            yield from segments
            yield Segment.line()
        yield from self._messages()

    def _head(self) -> Text:
        view = self.view
        now = self._now or (view.updated if view.is_over else time.time())
        elapsed = clock_text(now - view.started) if view.started is not None else ""
        memory = [f"{c.last:.1f} GiB" for name, c in view.curves.items() if name.startswith("system/") and c.points]
        facts = [view.info.get("device", ""), *memory, elapsed]
        head = Text()
        head.append(shorten(view.command, 60) or "run", "bold")
        head.append(f"  {view.state or 'starting'}", _STATE_STYLES.get(view.state, "cyan"))
        head.append("".join(f"  {shorten(fact, 30)}" for fact in facts if fact), "dim")
        return head

    def _tasks(self, width: int) -> Iterable[Text]:
        tasks = list(self.view.tasks.values())
        shown = [task for task in tasks if not task.is_done][-_MAX_TASKS:] or tasks[-1:]
        name = min(max((len(task.name) for task in shown), default=0), 28)
        return [_task_line(task, name, width) for task in shown]

    def _curves(self, width: int, room: int) -> list[Text]:
        curves = [curve for curve in self.view.curves.values() if not curve.name.startswith("system/")]
        shown = curves[: max(room, 0)] if len(curves) > room else curves
        name = min(max((len(curve.name) for curve in shown), default=0), max(32, width - 60))
        return [_curve_line(curve, name, width) for curve in shown]

    def _heat_map(self, console: Console, options: ConsoleOptions, room: int) -> list[list[Segment]]:
        figure = self.view.heat_map
        if figure is None:
            return []
        key = (figure, options.max_width)
        if (
            self._heat_map_key is None
            or self._heat_map_key[0] is not figure
            or self._heat_map_key[1] != options.max_width
        ):
            self.heat_maps_drawn += 1
            title = Text(shorten(figure.title, options.max_width), style="bold")
            text = Text("\n").join([title, heat_map_text(figure, options.max_width)])
            text.no_wrap = True
            self._heat_map_lines = console.render_lines(text, options, pad=False)
            self._heat_map_key = key
        return self._heat_map_lines if len(self._heat_map_lines) <= room else []

    def _messages(self) -> Iterable[Text]:
        styles = {"warning": "yellow", "error": "red"}
        for message in self.view.messages:
            yield Text(
                shorten(message.text, 400), style=styles.get(message.level, "dim"), no_wrap=True, overflow="ellipsis"
            )


def clock_text(seconds: float) -> str:
    """Seconds as ``2:05`` or ``1:02:05``."""
    whole = max(round(seconds), 0)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rate_text(task: Task) -> str:
    """Throughput, per second or, when slow, per minute; empty before it is known."""
    rate, unit = task.rate, _unit(task) or "it"
    if not rate or not math.isfinite(rate):
        return ""
    if rate >= 1000:
        return f"{rate:,.0f} {unit}/s"
    return f"{number_text(rate, 3)} {unit}/s" if rate >= 1 else f"{number_text(rate * 60, 3)} {unit}/min"


def _amount(task: Task) -> str:
    total = f"/{number_text(task.total)}" if task.total is not None else ""
    return f"{number_text(task.done)}{total} {_unit(task)}".rstrip()


def _unit(task: Task) -> str:
    return shorten(task.unit, _LONGEST_UNIT)


def _task_line(task: Task, name: int, width: int) -> Text:
    line = Text(shorten(task.name, name).ljust(name) + "  ")
    if task.total:
        bar = max(min(_BAR, width - name - 46), 8)
        filled = int(bar * min(task.done / task.total, 1.0))
        line.append("━" * filled, "green" if task.is_done else "cyan")
        line.append("━" * (bar - filled), "bright_black")
        line.append(f" {100 * min(task.done / task.total, 1.0):3.0f} %")
    line.append(f"  {_amount(task)}")
    line.append(f"  {rate_text(task)}" if rate_text(task) else "", "dim")
    if task.eta is not None and not task.is_done:
        line.append(f"  eta {clock_text(task.eta)}", "cyan")
    return line


def _curve_line(curve: Curve, name: int, width: int) -> Text:
    line = Text(shorten(curve.name, name).ljust(name) + "  ")
    line.append(f"{number_text(curve.last):>10}  ", "bold")
    if curve.has_steps:
        line.append(sparkline(curve.points, max(min(width - name - 30, 40), 8)), "cyan")
        line.append(f"  step {curve.step}", "dim")
    return line


def plain_line(view: RunView) -> str:
    """The run in one line without colour: ``train 100/1000 step  loss 0.031  412 it/s  eta 2:10``."""
    task = view.current_task
    parts = [f"{shorten(task.name, 40)} {_amount(task)}"] if task else []
    curves = [curve for curve in view.curves.values() if not curve.name.startswith("system/")]
    parts += [f"{shorten(curve.name, 24)} {number_text(curve.last)}" for curve in curves[:3]]
    if task:
        parts += [rate_text(task)] if rate_text(task) else []
        parts += [f"eta {clock_text(task.eta)}"] if task.eta is not None and not task.is_done else []
    return "  ".join(parts)
