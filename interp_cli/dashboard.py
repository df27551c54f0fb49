"""The live view of a running command: a dashboard on a terminal, plain lines elsewhere. It reads nothing but the run's events.

The dashboard is redrawn by a thread of its own, at most four times a second and only when an event came or the clock moved on. It
measures what a redraw costs and what the process uses meanwhile, and waits so long that redraws stay under 1 % of that: on a machine
that others use as well it draws less often.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.live import Live

from interp_cli.dashboard_panel import Panel, plain_line
from interp_cli.report.visible import visible
from interp_cli.run_view import RunView
from interp_registry.events import Event, EventSink, Message, NullSink, Progress, Scalar

__all__ = ["DashboardSink", "PlainSink", "Redrawer", "live_view", "pause"]

_INTERVAL = 0.25
_CLOCK_INTERVAL = 1.0
_SHARE = 0.005
_PLAIN_SECONDS = 5.0


def pause(cost: float, busy: float) -> float:
    """Seconds until the next redraw, so that redraws use under 1 % of a core, and of what the process uses.

    Args:
        cost: Processor seconds of the last redraw.
        busy: Cores that the process used of late. One that waits is redrawn every second, where a core allows it.
    """
    of_a_core = cost / _SHARE
    of_the_process = of_a_core / min(max(busy, _SHARE), 1.0)
    return max(_INTERVAL, of_a_core, min(of_the_process, _CLOCK_INTERVAL))


class Redrawer:
    """Redraws a Live display when its view changed, within a share of one core's time.

    Args:
        live: The display; it must not refresh by itself.
        view: What it shows.
    """

    def __init__(self, live: Live, view: RunView) -> None:
        self._live, self._view = live, view
        self._drawn, self._drawn_at = -1, 0.0
        self._used_at = time.monotonic(), time.process_time()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="interp-dashboard", daemon=True)
        self.cpu_seconds = 0.0
        self.frames = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after a last redraw."""
        self._stop.set()
        self._thread.join()
        self._redraw()

    def _work(self) -> None:
        wait = _INTERVAL
        while not self._stop.wait(wait):
            cost = self._redraw()
            last, self._used_at = self._used_at, (time.monotonic(), time.process_time())
            wait = pause(cost, (self._used_at[1] - last[1]) / (self._used_at[0] - last[0]))

    def _redraw(self) -> float:
        """CPU seconds that the redraw took; 0 when nothing changed."""
        now = time.monotonic()
        if self._view.version == self._drawn and now - self._drawn_at < _CLOCK_INTERVAL:
            return 0.0
        before = time.thread_time()
        self._drawn, self._drawn_at = self._view.version, now
        self._live.refresh()
        cost = time.thread_time() - before
        self.cpu_seconds += cost
        self.frames += 1
        return cost


class DashboardSink(EventSink):
    """Feeds a :class:`RunView`; warnings and errors are also printed above the dashboard, where they stay."""

    def __init__(self, view: RunView, console: Console) -> None:
        self._view, self._console = view, console

    def emit(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Message) and event.level in ("warning", "error"):
            style = "yellow" if event.level == "warning" else "red"
            self._console.print(visible(event.text), style=style, markup=False, highlight=False)
            return
        self._view.take(event)

    def progress(self, task: str, done: float, total: float | None = None, unit: str = "") -> None:
        """Take a progress report, at about a microsecond."""
        self._view.progress(task, done, total, unit)


class PlainSink(EventSink):
    """Prints a line every few seconds while there is progress, and messages at once."""

    def __init__(self, console: Console, seconds: float = _PLAIN_SECONDS) -> None:
        self._console, self._seconds = console, seconds
        self._view = RunView()
        self._printed = time.monotonic()
        self._line = ""

    def emit(self, event: Event) -> None:
        """Take one event."""
        self._view.take(event)
        if isinstance(event, Message) and event.level != "debug":
            self._print(visible(event.text))
        elif isinstance(event, (Progress, Scalar)):
            self._print_when_due()

    def progress(self, task: str, done: float, total: float | None = None, unit: str = "") -> None:
        """Take a progress report."""
        self._view.progress(task, done, total, unit)
        self._print_when_due()

    def _print_when_due(self) -> None:
        now = time.monotonic()
        if now - self._printed >= self._seconds:
            self._printed = now
            line = plain_line(self._view)
            if line != self._line:
                self._line = line
                self._print(line)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def live_view(
    progress: Literal["auto", "rich", "plain", "none"] = "auto",
    json: bool = False,  # noqa: ARG001 - stdout is never written to, whatever it carries
    console: Console | None = None,
) -> Iterator[EventSink]:
    """Show events as they come, on stderr; the terminal is as before when the context ends, however it ends.

    Args:
        progress: ``rich`` for the dashboard, ``plain`` for lines, ``none``; ``auto`` takes the dashboard on a terminal.
        json: Whether stdout carries one JSON object; it never gets anything from here.
        console: Where to show it instead.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # bars of libraries would be drawn into ours
    console = console or Console(file=sys.stderr, highlight=False)
    kind = (
        progress if progress != "auto" else "rich" if console.is_terminal and not console.is_dumb_terminal else "plain"
    )
    if kind == "none":
        yield NullSink()
    elif kind == "plain":
        yield PlainSink(console)
    else:
        view = RunView()
        live = Live(
            Panel(view), console=console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty()
        )
        redrawer = Redrawer(live, view)
        with live:
            redrawer.start()
            try:
                yield DashboardSink(view, console)
            finally:
                redrawer.stop()
