"""``interp ui``: Aim's interface on the runs of a home folder; runs that Aim has not seen are imported from their events."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interp_registry.errors import MissingDependencyError

if TYPE_CHECKING:
    from interp_registry.contracts.tracker import TrackedRun
    from interp_registry.stores.run import Run

__all__ = ["import_runs", "ui"]

_log = logging.getLogger(__name__)


def ui(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 43800,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Start the interface, or only import the runs.")
    ] = True,
    out: Annotated[Path | None, typer.Option("--out", help="Home folder instead of INTERP_HOME.")] = None,
) -> int:
    """Open Aim's interface on all runs of this home; older runs are imported from their events first. Ctrl-C ends it."""
    from interp_registry.stores.home import layout  # the command's help must stay light

    runs = layout(out).runs
    imported = import_runs(runs)
    typer.echo(f"imported {imported} runs into {runs / '.aim'}", err=True)
    if not start:
        return 0
    program = shutil.which("aim", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        raise MissingDependencyError("the program `aim` is not here", "pip install aim")
    typer.echo(f"http://{host}:{port}  (Ctrl-C ends it)", err=True)
    command = [program, "up", "--repo", str(runs), "--host", host, "--port", str(port), "-y"]
    return _serve(command)


def _serve(command: Sequence[str]) -> int:
    """Run a server until it ends, or a signal ends this process; the processes that it started end with it."""
    environment = {**os.environ, "AIM_UI_TELEMETRY_ENABLED": "0"}
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, process_group=0)  # noqa: S603 - a fixed program
    try:
        return server.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def import_runs(folder: Path) -> int:
    """Write every run below ``folder`` that Aim does not know into ``folder/.aim``.

    Returns:
        How many were written.
    """
    from interp_plugins.trackers.aim import import_run
    from interp_registry.stores.run import RunStore

    return sum(
        import_run(folder, _tracked(run), _numbers(run)) for run in RunStore(folder).runs() if not _is_empty(run)
    )


def _is_empty(run: "Run") -> bool:
    return not run.events.is_file()


def _tracked(run: "Run") -> "TrackedRun":
    from interp_registry.contracts.tracker import TrackedRun

    return TrackedRun(run.id, run.command, run.path, run.config)


def _numbers(run: "Run") -> Iterator[tuple[int, Mapping[str, float]]]:
    from interp_registry.events import Scalar, read_events

    for event in read_events(run.events):
        if isinstance(event, Scalar):
            yield event.step, {event.name: event.value}
    scalars = (run.result or {}).get("scalars", {})
    numbers = {f"result/{name}": float(value) for name, value in scalars.items() if isinstance(value, (int, float))}
    if numbers:
        yield 0, numbers
