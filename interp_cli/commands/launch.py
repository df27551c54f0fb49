"""``interp launch``: any command as tasks on SLURM, on this machine, or on others; and looking after launches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from interp_cli import console
from interp_cli.launch.folder import LaunchFolder, Task, find_launch, list_launches
from interp_cli.launch.items import array_items, commands_for
from interp_cli.launch.options import LaunchOptions, command_from, launcher_config, options_from, request_from
from interp_cli.launch.show import follow_log, show_plan, show_status, show_submitted, status_json
from interp_cli.launch.status import cancel, log_of, retry, task_states
from interp_cli.launch.submit import plan, submit
from interp_cli.launch.sweep_check import stage_of
from interp_cli.name_completion import launch_names
from interp_registry.choices import LauncherConfig, choice_names
from interp_registry.discovery import discover
from interp_registry.errors import UsageError
from interp_registry.stores.home import layout
from interp_registry.task_numbers import parse_numbers

__all__ = ["app"]

app = typer.Typer(help="Run any command on SLURM, other hosts, or this one.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of runs and launches instead of INTERP_HOME.")]
Name = Annotated[
    str, typer.Argument(help='Launch: its id, the beginning or end of it, or "last".', autocompletion=launch_names)
]
Tasks = Annotated[str | None, typer.Option("--tasks", help="Only these tasks, e.g. 0-3,7.")]


@dataclass
class _ArrayOptions:
    """What to run."""

    array: str | None = None
    """items: a file with one per line, or a,b,c; {item} in the command stands for one"""
    wait: bool = False
    """stay until all tasks have ended; the exit code is 3 when one failed"""


def _launch(name: str, values: Mapping[str, Any]) -> int:
    options = options_from(values)
    command = _command_of(values["ctx"].args)
    tasks = _tasks(command, values["array"])
    parent = layout(options.out).launches
    details = {"kind": "array", "command": list(command), "resumable": stage_of(command) is not None}
    request = request_from(options, launcher_config(name, values), tasks, parent, details)
    if options.dry_run:
        launch, launcher, notes = plan(request)
        show_plan(launcher.script(launch, range(launch.n_tasks)), tasks, notes, as_json=options.json)
        return 0
    submitted = submit(request)
    show_submitted(submitted, as_json=options.json and not values["wait"])
    return _wait(submitted.folder, options.json) if values["wait"] else 0


def _command_of(words: Sequence[str]) -> list[str]:
    command = list(words)
    if command and command[0] == "interp":
        command = command[1:]
    if not command:
        raise UsageError("no command is given", "add it after --, e.g. interp launch slurm -- extract --model {item}")
    return command


def _tasks(command: Sequence[str], array: str | None) -> list[Task]:
    if array is None:
        return [Task(0, tuple(command), "")]
    items = array_items(array)
    return [Task(i, argv, items[i]) for i, argv in enumerate(commands_for(command, items))]


def _wait(folder: LaunchFolder, as_json: bool) -> int:
    from interp_cli.launch.show import wait_for_end

    states = wait_for_end(folder)
    if as_json:
        console.print_json(status_json(folder, states))
    else:
        show_status(folder, states)
    return 0 if all(status.state == "done" for status in states) else 3


def _add_launchers() -> None:
    discover()
    settings = {"ignore_unknown_options": False, "allow_extra_args": True, "allow_interspersed_args": False}
    for name in choice_names(LauncherConfig):
        config = LauncherConfig.get_choice_class(name)
        help_text = (config.__doc__ or f"Launch through {name}.").strip().splitlines()[0]
        callback = command_from(
            (_ArrayOptions, LaunchOptions, config), lambda values, n=name: _launch(n, values), help_text
        )
        app.command(name, context_settings=settings)(callback)


_add_launchers()


@app.command("list")
def list_all(out: Out = None, json: Json = False) -> int:
    """List launches, newest first."""
    folders = list_launches(layout(out).launches)
    rows: list[dict[str, Any]] = []
    for folder in folders:
        said = folder.describe()
        n_tasks, n_ended = len(folder.tasks()), len(folder.ended_numbers())
        launch = said.get("launch", {})
        rows.append(
            {
                "id": folder.id,
                "name": launch.get("name", ""),
                "launcher": said["launcher"]["name"],
                "ended": n_ended,
                "tasks": n_tasks,
            }
        )
    if json:
        console.print_json({"launches": rows})
    else:
        console.print_table(
            ("launch", "name", "launcher", "ended"),
            ([r["id"], r["name"], r["launcher"], f"{r['ended']}/{r['tasks']}"] for r in rows),
        )
    return 0


@app.command("status")
def status(name: Name = "last", out: Out = None, json: Json = False) -> int:
    """Show how far the tasks of a launch are; exit code 3 when one failed or was lost."""
    folder = find_launch(layout(out).launches, name)
    states = task_states(folder)
    if json:
        console.print_json(status_json(folder, states))
    else:
        show_status(folder, states)
    return 3 if any(one.state in {"failed", "lost", "interrupted"} for one in states) else 0


@app.command("logs")
def logs(
    name: Name = "last",
    task: Annotated[int, typer.Argument(help="Number of the task.", min=0)] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the task ends.")] = False,
    out: Out = None,
) -> int:
    """Print the output of a task."""
    folder = find_launch(layout(out).launches, name)
    if task >= (n_tasks := len(folder.tasks())) and not follow:  # a sweep that asks as it goes has more later
        raise UsageError(f"there is no task {task} in {folder.id}", f"its tasks are 0 to {n_tasks - 1}")
    log = log_of(folder, task)
    if log is None and not follow:
        raise UsageError(
            f"task {task} of {folder.id} has written nothing yet", f"see `interp launch status {folder.id}`"
        )
    follow_log(folder, task, follow)
    return 0


@app.command("cancel")
def cancel_launch(name: Name, tasks: Tasks = None, out: Out = None, json: Json = False) -> int:
    """Stop the tasks of a launch that have not ended."""
    folder = find_launch(layout(out).launches, name)
    stopped = cancel(folder, parse_numbers(tasks) if tasks else None)
    _tell(folder, "cancelled", stopped, json)
    return 0


@app.command("retry")
def retry_launch(
    name: Name,
    tasks: Tasks = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also repeat done tasks named by --tasks; go over --max-gpus.")
    ] = False,
    max_gpus: Annotated[
        int, typer.Option("--max-gpus", help="Most GPUs that all your launches together may hold.")
    ] = 8,
    out: Out = None,
    json: Json = False,
) -> int:
    """Start again the tasks that failed, were cancelled or lost, with the code of the launch."""
    folder = find_launch(layout(out).launches, name)
    again = retry(folder, parse_numbers(tasks) if tasks else None, force=force, max_gpus=max_gpus)
    _tell(folder, "started again", again, json)
    return 0


@app.command("agent")
def agent(name: Name, out: Out = None) -> int:
    """Join a launch with one more agent, from this or any machine that sees its folder."""
    from interp_cli.launch.agent import work
    from interp_cli.launch.supervise import Inbox

    inbox = Inbox()
    inbox.install()
    return work(find_launch(layout(out).launches, name), inbox)


def _tell(folder: LaunchFolder, what: str, numbers: list[int], as_json: bool) -> None:
    if as_json:
        console.print_json({"id": folder.id, "tasks": numbers})
    else:
        console.out().print(f"{folder.id}: {len(numbers)} tasks {what}")
