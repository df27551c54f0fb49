"""``interp watch``: follow runs from another terminal."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from interp_cli import console
from interp_cli.chosen_runs import chosen_launches, chosen_runs
from interp_cli.dashboard_panel import Panel, plain_line
from interp_cli.launch.show import at_work
from interp_cli.name_completion import runs_and_launches
from interp_cli.report.visible import shorten
from interp_cli.run_view import RunView
from interp_registry.errors import UsageError
from interp_registry.events import EventReader
from interp_registry.stores.run import Run, RunState

__all__ = ["app"]

app = typer.Typer()

_ID_WIDTH = 26  # an id is copied from here
_POLL = 0.25
_PLAIN_SECONDS = 5.0


@dataclass
class _Watched:
    """One run that is followed."""

    run: Run
    view: RunView = field(default_factory=RunView)

    def __post_init__(self) -> None:
        self._reader = EventReader(self.run.events)
        self.view.info["command"] = self.run.command

    def look(self) -> bool:
        """Take new events; whether there were any."""
        events = self._reader.new()
        for event in events:
            self.view.take(event)
        if not events and not self.view.is_over:
            self._ask_whether_it_lives()
        return bool(events)

    def _ask_whether_it_lives(self) -> None:
        """A killed process writes no last event; the run's folder knows it."""
        state = self.run.state
        if state not in (RunState.CREATED, RunState.RUNNING):
            self.view.state = state.value
            self.view.version += 1


class _Watch:
    """All runs that are followed; those of a launch appear while it goes on."""

    def __init__(self, find: Callable[[], list[Run]], may_begin: Callable[[], bool]) -> None:
        self._find, self._may_begin = find, may_begin
        self._watched: dict[Path, _Watched] = {}
        self._asked = -1e9

    @property
    def watched(self) -> list[_Watched]:
        """The runs, in the order in which they were named."""
        return list(self._watched.values())

    @property
    def is_over(self) -> bool:
        """Whether every run ended, and where there is none, whether none will begin."""
        if not self._watched:
            return not self._may_begin()
        return all(watched.view.is_over for watched in self.watched)

    @property
    def went_well(self) -> bool:
        """Whether every run is done."""
        return all(watched.view.state == "done" for watched in self.watched)

    def look(self) -> bool:
        """Take new events of all runs; whether anything changed."""
        now = time.monotonic()
        if now - self._asked > 2.0:
            self._asked = now
            for run in self._find():
                self._watched.setdefault(run.path, _Watched(run))
        before = [watched.view.version for watched in self.watched]
        changed = [watched.look() for watched in self.watched]
        return any(changed) or before != [watched.view.version for watched in self.watched]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One run as its dashboard, several as a table with a line for each."""
        if len(self._watched) == 1:
            yield Panel(self.watched[0].view)
        elif self._watched:
            yield self._table(max(console.height - 4, 4))
        else:
            yield Text("no run has begun", style="dim")

    def _table(self, room: int) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("run", "command", "state", "progress"):
            table.add_column(name, no_wrap=name == "run", min_width=_ID_WIDTH if name == "run" else None)
        active = sorted(self.watched, key=lambda watched: watched.view.is_over)
        for watched in active[:room]:
            view = watched.view
            cells = (watched.run.path.name, watched.run.command, view.state or "starting", plain_line(view))
            table.add_row(*(Text(shorten(cell, 90)) for cell in cells))
        states = [watched.view.state or "starting" for watched in self.watched]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        table.caption, table.caption_justify = Text(counts), "left"
        return table


@app.command("watch")
def watch(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs, folders of runs, or launches; the last run or launch when left out.",
            autocompletion=runs_and_launches,
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show how it stands, and stop.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Home folder instead of INTERP_HOME.")] = None,
) -> int:
    """Follow running or finished runs: progress, rate, numbers and heat maps, as their own terminal shows them.

    Ends when all of them have ended: exit code 0 when all are done, 1 when any failed or was interrupted. Ctrl-C only
    stops watching.
    """
    names = runs or ["last"]
    watched = _Watch(lambda: chosen_runs(names, out), lambda: any(map(at_work, chosen_launches(names, out))))
    terminal = console.out()
    watched.look()
    if once:
        terminal.print(watched)
    elif terminal.is_terminal and not terminal.is_dumb_terminal:
        _live(watched, terminal)
    else:
        _lines(watched, terminal)
    if not watched.watched and not once:
        raise UsageError(f"{', '.join(names)} ended before a run began", "`interp launch status` shows why")
    return 0 if once or watched.went_well else 1


def _live(watched: _Watch, terminal: Console) -> None:
    with Live(watched, console=terminal, auto_refresh=False) as live:
        while not watched.is_over:
            time.sleep(_POLL)
            if watched.look():
                live.refresh()
        live.refresh()


def _lines(watched: _Watch, terminal: Console) -> None:
    """A line for each run that moved, every few seconds, and one with its last state."""
    said: dict[Path, str] = {}
    while True:
        for each in watched.watched:
            line = f"{each.run.path.name} {each.view.state or 'starting'}  {plain_line(each.view)}".rstrip()
            if said.get(each.run.path) != line:
                said[each.run.path] = line
                terminal.print(line, markup=False, soft_wrap=True)
        if watched.is_over:
            return
        ends = time.monotonic() + _PLAIN_SECONDS
        while time.monotonic() < ends and not watched.is_over:
            time.sleep(_POLL)
            watched.look()
