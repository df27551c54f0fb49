"""Start sweeps: from a file and a command, or from the ``--sweep`` option of a stage."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from interp_cli.launch.folder import LaunchFolder, Task
from interp_cli.launch.options import LaunchOptions, launcher_from_text, request_from
from interp_cli.launch.submit import LaunchRequest, Submitted, submit
from interp_cli.launch.sweep_check import check_points, check_sweep, stage_of
from interp_cli.launch.sweep_file import Sweep, read_sweep
from interp_cli.launch.sweep_groups import check_batched, grouped_tasks
from interp_cli.launch.sweep_points import experiments_of, points_of, tasks_of
from interp_registry.errors import UsageError
from interp_registry.process_identity import start_detached
from interp_registry.stores.home import layout

__all__ = ["SweepRequest", "find_sweep", "plan_sweep", "resume_owner", "start_sweep"]


@dataclass(frozen=True)
class SweepRequest:
    """A sweep to start.

    Attributes:
        file: The sweep file.
        command: The command that gets each point's parameters.
        options: The launch options.
        launcher: Where points run, as one word.
        experiments: Experiments to run; those of the file by default.
        batched: How many points may run side by side in one process; 0 gives each a process of its own.
    """

    file: Path
    command: Sequence[str]
    options: LaunchOptions = field(default_factory=LaunchOptions)
    launcher: str = "local"
    experiments: Sequence[str] = ()
    batched: int = 0


def find_sweep(name: str, configs: Path) -> Path:
    """A sweep file: a path, or the name of one that is shipped in ``configs/sweeps``.

    Raises:
        UsageError: There is no such file.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = configs / "sweeps"
    for candidate in (shipped / name, shipped / f"{name}.yaml"):
        if "/" not in name and candidate.is_file():
            return candidate
    known = ", ".join(sorted(p.stem for p in shipped.glob("*.yaml"))) or "none"
    raise UsageError(f"no sweep file {name}", f"give a path, or one that is shipped: {known}")


def plan_sweep(request: SweepRequest) -> tuple[Sweep, LaunchRequest]:
    """Read and check everything; starts and writes nothing.

    Raises:
        UsageError: The file, a key, a value, the command or an option is wrong.
    """
    sweep = read_sweep(request.file)
    experiments = experiments_of(sweep, request.experiments)
    found = stage_of(request.command)
    if found is not None:
        check_sweep(sweep, found[0], experiments)
    adaptive = sweep.settings.method == "tpe"
    tasks: list[Task] = []
    if request.batched:
        check_batched(sweep, found[0] if found is not None else None, request.batched)
    if adaptive:
        for experiment in experiments:
            sweep.space(experiment)
    else:
        points = points_of(sweep, request.experiments)
        check_points(sweep, request.command, points)
        tasks = (
            grouped_tasks(points, request.command, request.batched)
            if request.batched
            else tasks_of(points, request.command)
        )
    details = {
        "kind": "sweep",
        "command": list(request.command),
        "resumable": found is not None,
        "sweep": {"file": str(request.file.absolute()), "method": sweep.settings.method, "metric": sweep.settings.metric,
                  "goal": sweep.settings.goal, "experiments": list(request.experiments)},
    }  # fmt: skip
    parent = layout(request.options.out).launches
    launch = request_from(request.options, launcher_from_text(request.launcher), tasks, parent, details)
    return sweep, replace(launch, deferred=adaptive)


def start_sweep(request: SweepRequest) -> Submitted:
    """Start a sweep; for one whose points depend on results, its owner.

    Raises:
        UsageError: Something about it is wrong; nothing was started.
    """
    _, launch = plan_sweep(request)
    submitted = submit(launch)
    shutil.copyfile(request.file, submitted.folder.path / "sweep.yaml")
    if launch.deferred:
        resume_owner(submitted.folder)
    return submitted


def resume_owner(folder: LaunchFolder) -> None:
    """Start the owner of a sweep in a session of its own, unless it lives."""
    if folder.owner_alive():
        return
    command = [sys.executable, "-P", "-m", "interp_cli.launch.sweep_owner", str(folder.path)]
    folder.own(start_detached(command, folder.logs / "owner.log"))
