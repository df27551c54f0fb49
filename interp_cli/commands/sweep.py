"""``interp sweep``: run a command for every point of a sweep file, and compare what came out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from interp_cli import console
from interp_cli.app import BuiltinGroup
from interp_cli.launch.folder import find_launch
from interp_cli.launch.options import LaunchOptions, command_from, options_from
from interp_cli.launch.sweep_run import SweepRequest, find_sweep, resume_owner
from interp_cli.launch.sweep_show import FORMATS, carry_out, finish, show_results
from interp_cli.name_completion import launch_names
from interp_cli.paths import configs_dir
from interp_registry.discovery import discover
from interp_registry.errors import UsageError
from interp_registry.stores.home import layout

__all__ = ["app"]


class SweepGroup(BuiltinGroup):
    """Words that name no sub-command are a sweep to start."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the sub-command before a sweep file."""
        if args and args[0] not in self.commands and args[0] not in {"-h", "--help"}:
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=SweepGroup, help="Run a command for every point of a sweep: interp sweep FILE -- COMMAND.", no_args_is_help=True
)

Out = Annotated[Path | None, typer.Option("--out", help="Folder of runs and launches instead of INTERP_HOME.")]
Name = Annotated[
    str,
    typer.Argument(
        help='Sweep: the id of its launch, the beginning or end of it, or "last".', autocompletion=launch_names
    ),
]


@dataclass
class _SweepOptions:
    """What to run and where."""

    launcher: str = "local"
    """where points run: local, slurm, ssh, ... with settings as in slurm:partition=gpu,requeue=false"""
    experiments: list[str] = field(default_factory=list)
    """experiments to run, e.g. a,b (default: those of the file)"""
    batched: int = 0
    """points that differ little run side by side in one process, at most so many; for commands that can do so"""
    wait: bool = False
    """stay until all points have ended and show the results; the exit code is 3 when one failed"""
    report: bool = True
    """with --wait, write an HTML page that compares the points"""


def _start(values: Mapping[str, Any]) -> int:
    discover()
    options = options_from(values)
    words = [word for word in values["ctx"].args if word != "--"]
    if not words:
        raise UsageError("no sweep file is given", "interp sweep FILE -- COMMAND")
    file, command = find_sweep(words[0], configs_dir()), words[1:]
    command = command[1:] if command[:1] == ["interp"] else command
    if not command:
        raise UsageError("no command is given", f"interp sweep {words[0]} -- COMMAND")
    experiments = [part for text in values["experiments"] for part in text.split(",") if part]
    request = SweepRequest(file, command, options, values["launcher"], experiments, values["batched"])
    return carry_out(request, wait=values["wait"], report=values["report"])


_START_HELP = """Start a sweep: interp sweep FILE [OPTIONS] -- COMMAND.

FILE is YAML, by default a grid of all values:

  global:
    topk: {values: [5, 10]}
    seed: {values: [0, 1, 2]}

Each point adds its values to the command as options: interp sweep FILE -- align lm-d64 vit-d64
"""
_settings = {"allow_extra_args": True}
app.command("start", context_settings=_settings)(command_from((_SweepOptions, LaunchOptions), _start, _START_HELP))


@app.command("results")
def results(
    name: Name = "last",
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "table",
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Result to show; may be given several times.")
    ] = None,
    target: Annotated[Path | None, typer.Option("--to", help="File to write (html: folder).")] = None,
    out: Out = None,
) -> int:
    """Compare the points of a sweep: table, CSV, Markdown, or an HTML page with figures."""
    folder = find_launch(layout(out).launches, name)
    if folder.describe().get("kind") != "sweep":
        raise UsageError(f"{folder.id} is no sweep", "`interp launch list` shows what it is")
    show_results(folder, form, tuple(metric or ()), target)
    return 0


@app.command("resume")
def resume(
    name: Name = "last",
    wait: Annotated[bool, typer.Option("--wait", help="Stay until all points have ended.")] = False,
    out: Out = None,
) -> int:
    """Go on with a sweep whose points depend on results, after its owner was killed."""
    folder = find_launch(layout(out).launches, name)
    if folder.describe().get("sweep", {}).get("method") != "tpe":
        raise UsageError(f"{folder.id} has no owner", f"its points are fixed: interp launch retry {folder.id}")
    discover()
    resume_owner(folder)
    if wait:
        return finish(folder, as_json=False, report=True)
    console.out().print(f"{folder.id} goes on")
    return 0
