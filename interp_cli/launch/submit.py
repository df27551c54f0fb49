"""Make a launch: settings -> launch folder -> code snapshot -> tasks handed to the launcher, within the user's cap of GPUs."""

import contextlib
import dataclasses
import fcntl
import os
import platform
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interp_cli.launch.environment import recorded, refuse_secrets, secret_values, submit_environment
from interp_cli.launch.folder import LaunchFolder, Task, new_launch_id
from interp_cli.launch.items import safe_name
from interp_cli.launch.records import decoded
from interp_cli.launch.snapshot import Snapshot, installed_versions, mapped_path, repository_of, take_snapshot
from interp_registry.choices import LauncherConfig, choice_names
from interp_registry.config_io import encode
from interp_registry.contracts.launcher import Job, Launch, Launcher, Resources
from interp_registry.errors import InterpError, InterruptedRunError, PluginError, UnknownNameError, UsageError
from interp_registry.patience import said_when_slow

__all__ = [
    "LaunchRequest",
    "Submitted",
    "capped_agents",
    "gpus_in_use",
    "open_launcher",
    "plan",
    "start_tasks",
    "submit",
]

MAX_GPUS = 8
"""How many GPUs a user may hold at a time unless they say otherwise."""


@dataclass(frozen=True)
class LaunchRequest:
    """What is to be launched.

    Attributes:
        launcher: Configuration of the launcher.
        tasks: The tasks.
        parent: Folder of launch folders.
        name: Name for people (the job suffix).
        n_agents: Tasks at a time; None takes the launcher's own default.
        gpus: GPUs per task; None takes the launcher's own default.
        resources: CPUs, memory and time of one task (its ``gpus`` is replaced).
        max_gpus: Cap over all of the user's launches.
        force: Whether to go over the cap.
        snapshot: Whether to freeze the code.
        pass_env: Names of further variables that tasks get.
        details: Further entries of ``launch.json``, e.g. the sweep.
        program: Command that the tasks' arguments are given to.
        environment: Further variables that tasks get; written to the folder.
        deferred: Whether the tasks are started later, one by one, by an owner.
    """

    launcher: LauncherConfig
    tasks: Sequence[Task]
    parent: Path
    name: str = ""
    n_agents: int | None = None
    gpus: int | None = None
    resources: Resources = field(default_factory=Resources)
    max_gpus: int = MAX_GPUS
    force: bool = False
    snapshot: bool = True
    pass_env: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    program: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    deferred: bool = False


@dataclass(frozen=True)
class Submitted:
    """A launch that was handed over.

    Attributes:
        folder: Its folder.
        jobs: What the launcher started.
        launch: The launch as the launcher saw it.
        notes: What the user should know, one line each.
    """

    folder: LaunchFolder
    jobs: tuple[Job, ...]
    launch: Launch
    notes: tuple[str, ...]


def plan(request: LaunchRequest, launch_id: str = "LAUNCH-ID") -> tuple[Launch, Launcher, tuple[str, ...]]:
    """What would be launched, and the launcher; writes nothing and asks no queue.

    Raises:
        UsageError: The request cannot work.
    """
    launcher: Launcher = request.launcher.build()
    abilities = launcher.capabilities
    gpus = abilities.default_gpus if request.gpus is None else request.gpus
    if gpus > request.max_gpus and not request.force:
        raise UsageError(
            f"each task asks for {gpus} GPUs, the cap is {request.max_gpus}", "raise --max-gpus, or add --force"
        )
    n_tasks = len(request.tasks)
    agents = request.n_agents or abilities.default_agents or n_tasks
    notes: tuple[str, ...] = ()
    if gpus and not request.force and agents * gpus > request.max_gpus:
        agents = request.max_gpus // gpus
        notes = (f"{agents} tasks at a time: at most {request.max_gpus} GPUs (--max-gpus)",)
    folder = request.parent / launch_id
    command = (sys.executable, "-P", "-m")
    launch = Launch(
        id=launch_id,
        folder=folder,
        name=safe_name(request.name),
        n_tasks=n_tasks,
        n_agents=max(1, min(agents, n_tasks) if not request.deferred else agents),
        resources=Resources(gpus, request.resources.cpus, request.resources.memory, request.resources.minutes),
        task_command=(*command, "interp_cli.launch.run_task", str(folder)),
        agent_command=(*command, "interp_cli.launch.agent", str(folder)),
    )
    launcher.check(launch)
    return launch, launcher, notes


def submit(request: LaunchRequest) -> Submitted:
    """Launch.

    Raises:
        UsageError: The request cannot work, holds a secret, or would go over the cap of GPUs.
        InterpError: The launcher refused; the launch folder is removed again.
    """
    for task in request.tasks:
        refuse_secrets(task.argv)
    launch, launcher, notes = plan(request, new_launch_id())
    request.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(request.parent):
        agents, note = capped_agents(launch, request.max_gpus, request.force)
        launch = _with(launch, n_agents=agents)
        folder = LaunchFolder.create(request.parent, launch.id, _description(request, launch, launcher), request.tasks)
        try:
            launch = _with(launch, environment={**_freeze_code(request, folder), **request.environment})
            folder.script.write_text(launcher.script(launch, range(max(1, launch.n_tasks))), encoding="utf-8")
            jobs = (
                ()
                if request.deferred
                else start_tasks(folder, launcher, launch, range(launch.n_tasks), request.pass_env)
            )
        except (InterruptedRunError, PluginError):
            raise  # something may have been started
        except InterpError:
            shutil.rmtree(folder.path)
            raise
    return Submitted(folder, tuple(jobs), launch, tuple(n for n in (*notes, note) if n))


def start_tasks(
    folder: LaunchFolder, launcher: Launcher, launch: Launch, tasks: Sequence[int], pass_env: Sequence[str] = ()
) -> list[Job]:
    """Hand tasks to the launcher with the filtered environment, and note the jobs in the folder.

    Raises:
        InterpError: The launcher refused.
        PluginError: It raised anything else, or gave back no jobs.
        InterruptedRunError: It was waited for when Ctrl-C came.
    """
    environment = submit_environment(os.environ, pass_env)
    advice = f"`interp launch status {folder.id}` says what is known of its tasks"
    with said_when_slow(f"{type(launcher).__name__} is starting tasks", "Ctrl-C ends the waiting"):
        try:
            jobs = list(launcher.start(launch, tasks, environment))
            described = [asdict(job) for job in jobs]
        except InterpError:
            raise
        except KeyboardInterrupt as err:
            raise InterruptedRunError(signal.SIGINT, f"the launcher may have started something: {advice}") from err
        except (Exception, SystemExit) as err:
            reason = f"{type(err).__name__}: {err}"
            raise PluginError(
                f"{type(launcher).__name__} failed to start tasks of {folder.id}: {reason}", advice
            ) from err
    for job in described:
        folder.add_job(job)
    return jobs


def open_launcher(description: Mapping[str, Any], folder: LaunchFolder) -> tuple[Launcher, Launch]:
    """The launcher and the launch of an existing folder."""
    said = description["launcher"]
    if said["name"] not in choice_names(LauncherConfig):
        raise UnknownNameError("launcher", said["name"], choice_names(LauncherConfig), str(folder.path / "launch.json"))
    config = decoded(LauncherConfig, said["config"], folder.path / "launch.json")
    data = description["launch"]
    launch = Launch(
        id=folder.id, folder=folder.path, name=data["name"], n_tasks=len(folder.tasks()), n_agents=data["n_agents"],
        resources=Resources(**data["resources"]), task_command=tuple(data["task_command"]),
        agent_command=tuple(data["agent_command"]), environment=description.get("task_environment", {}),
    )  # fmt: skip
    return config.build(), launch


def gpus_in_use() -> int:
    """GPUs that the user holds or waits for, over all launchers."""
    configs = {LauncherConfig.get_choice_class(name) for name in choice_names(LauncherConfig)}
    return sum(config().build().gpus_in_use() for config in sorted(configs, key=lambda c: c.__name__))


def capped_agents(launch: Launch, max_gpus: int, force: bool) -> tuple[int, str]:
    """How many tasks may run at a time under the cap of GPUs over all launches, and what to tell the user.

    Raises:
        UsageError: Not even one may.
    """
    gpus = launch.resources.gpus
    if not gpus or force:
        return launch.n_agents, ""
    in_use = gpus_in_use()
    allowed = (max_gpus - in_use) // gpus
    if allowed < 1:
        raise UsageError(
            f"{in_use} of at most {max_gpus} GPUs are in use or asked for by other launches, each task needs {gpus}",
            "wait, cancel one (`interp launch status`), raise --max-gpus, or add --force",
        )
    if allowed >= launch.n_agents:
        return launch.n_agents, ""
    return allowed, f"{allowed} tasks at a time: {in_use} GPUs of at most {max_gpus} are in use or asked for already"


def _description(request: LaunchRequest, launch: Launch, launcher: Launcher) -> dict[str, Any]:
    abilities = launcher.capabilities
    config = encode(request.launcher, LauncherConfig)
    name = config.get("type", "") if isinstance(config, dict) else ""
    data = asdict(launch)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "cwd": str(Path.cwd()),
        "host": platform.node(),
        "user": os.environ.get("USER", ""),
        "program": list(request.program) or [sys.executable, "-P", "-m", "interp_cli"],
        "launcher": {
            "name": name,
            "config": config,
            "requeue_command": list(abilities.requeue_command),
            "interrupt_seconds": abilities.interrupt_seconds,
        },
        "launch": {key: data[key] for key in ("name", "n_agents", "resources", "task_command", "agent_command")},
        "environment": recorded(os.environ),
        "pass_env": list(request.pass_env),
        "versions": {"interp-cli": version("interp-cli"), "python": platform.python_version()},
        **request.details,
    }


def _freeze_code(request: LaunchRequest, folder: LaunchFolder) -> dict[str, str]:
    """Take the snapshot, or record versions; returns the variables by which tasks find the code."""
    root = repository_of(Path.cwd()) if request.snapshot else None
    if root is None:
        folder.update(
            code={"git": None, "distributions": installed_versions()}, task_environment=dict(request.environment)
        )
        return {}
    target = folder.path / "snapshot"
    shot = take_snapshot(
        root, folder.id, target, exclude=[request.parent, request.parent.parent], secrets=secret_values(os.environ)
    )
    before = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    environment = {"PYTHONPATH": os.pathsep.join([*mapped_path(root, target), *before])}
    folder.update(code={"git": _told(shot)}, task_environment={**environment, **request.environment})
    return environment


def _told(shot: Snapshot) -> dict[str, Any]:
    return {
        "commit": shot.commit,
        "ref": shot.ref,
        "head": shot.head,
        "root": str(shot.root),
        "left_out": list(shot.left_out),
    }


def _with(launch: Launch, **changes: Any) -> Launch:
    return dataclasses.replace(launch, **changes)


@contextlib.contextmanager
def _one_at_a_time(parent: Path) -> Iterator[None]:
    """Two launches at the same moment must not both count the same free GPUs."""
    with (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
