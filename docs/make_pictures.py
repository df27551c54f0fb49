"""Draw `docs/images/`: the dashboard and the report of the latest run of each command in a home folder.

``python docs/make_pictures.py HOME`` after the commands of `COMMANDS`, each with ``--out HOME``; of commands without a run the pictures
stay as they are. Dashboards are drawn from the run's own events, as they stood after a share of them; what `PRINTED` commands print, as
a terminal shows it; reports are photographed in headless Chromium. Needs the development tools.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from PIL import Image

IMAGES = Path(__file__).parent / "images"
COMMANDS = {
    "demo": 0.7,
    "extract": 0.5,
    "align pairs": 0.7,
    "bench": 0.6,
    "cuts": 0.6,
    "clip train": 0.6,
    "spd run": 0.8,
    "lens train": 0.6,
    "lens eval": None,
    "lens show": None,
}
"""Command -> share of its reports of progress after which its dashboard is shown; None: its dashboard shows little."""
PRINTED = {"lens show": 2}
"""Command -> how many of the figures that it prints are drawn."""

_WIDTH = 100


def latest_runs(home: Path) -> Iterator[tuple[str, Any]]:
    """The last finished run of each command that was given by hand."""
    from interp_registry.stores.home import layout
    from interp_registry.stores.run import RunStore

    runs = [run for run in RunStore(layout(home).runs).runs() if run.state == "done"]
    for command in COMMANDS:
        found = [run for run in runs if run.command == command and not run.record["details"].get("parent")]
        if found:
            yield command, found[-1]


def dashboard_svg(command: str, run: Any) -> str:
    """The dashboard of a run as it was after a share of its time, as a terminal would show it."""
    from interp_cli.dashboard_panel import Panel
    from interp_cli.run_view import RunView
    from interp_registry.events import HeatMapEvent, Progress, Scalar, read_events

    events = list(read_events(run.events))
    kinds = (Progress, HeatMapEvent, Scalar)
    moments = [event.time for event in events if isinstance(event, kinds)]
    now = moments[int((COMMANDS[command] or 1.0) * (len(moments) - 1))]
    view = RunView()
    for event in events:
        if event.time <= now:
            view.take(event)
    console = _terminal()
    console.print(Panel(view, now))
    console.print()
    return _svg(console, command)


def printed_svg(command: str, run: Any) -> str:
    """The first figures that a run printed, as a terminal shows them."""
    from interp_cli.report.model import read_report
    from interp_cli.report.terminal import figure_renderable

    console = _terminal()
    for figure in read_report(run).figures[: PRINTED[command]]:
        console.print(figure_renderable(figure, console))
        console.print()
    return _svg(console, command)


def _terminal() -> Any:
    from rich.console import Console

    return Console(file=StringIO(), record=True, width=_WIDTH, height=40, force_terminal=True, color_system="truecolor")


def _svg(console: Any, command: str) -> str:
    svg: str = console.export_svg(title=f"interp {command}")
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # no font is fetched; any monospaced one will do


def main(home: Path) -> None:
    """Draw everything that the home has runs for."""
    from playwright.sync_api import sync_playwright

    from interp_cli.report.html import write_report
    from interp_cli.report.model import read_report

    IMAGES.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for command, run in latest_runs(home):
            stem = command.replace(" ", "-")
            if COMMANDS[command] is not None:
                (IMAGES / f"dashboard-{stem}.svg").write_text(dashboard_svg(command, run), encoding="utf-8")
            if command in PRINTED:
                (IMAGES / f"terminal-{stem}.svg").write_text(printed_svg(command, run), encoding="utf-8")
            page = write_report([read_report(run)], Path(tempfile.mkdtemp()), files=False)
            photograph(browser, page, IMAGES / f"report-{stem}.png")
            if command == "demo":
                photograph(browser, page, IMAGES / "report-dark.png", scheme="dark")
                photograph(browser, page, IMAGES / "report-narrow.png", width=390)
        browser.close()


def photograph(browser: Any, page: Path, to: Path, width: int = 1120, scheme: str = "light") -> None:
    """The top of a report."""
    context = browser.new_context(viewport={"width": width, "height": 1150}, color_scheme=scheme)
    opened = context.new_page()
    opened.goto(page.as_uri())
    opened.wait_for_selector("html[data-plots=ready]", state="attached", timeout=120_000)
    taken = Image.open(BytesIO(opened.screenshot()))
    taken.convert("RGB").quantize(160, dither=Image.Dither.NONE).save(to, optimize=True)
    context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
