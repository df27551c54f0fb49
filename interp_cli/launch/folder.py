"""The launch folder: everything about one launch, readable by eye.

launch.json      what was asked for, where, with which versions and which code
tasks.jsonl      line i is task i: its arguments, its name, its parameters
script.sh        the constant script that a queue runs
snapshot/        the code as it was
logs/            one file per attempt
leases/          who works on what (see `interp_cli.launch.leases`)
state/<i>.json   how task i ended; created once, by whoever finished it
jobs.jsonl       what was handed to the launcher
"""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from interp_cli.launch.atomic import create_json, read_json, replace_json
from interp_cli.launch.records import Description, decoded
from interp_registry.contracts.launcher import Job
from interp_registry.errors import CorruptError, UsageError
from interp_registry.process_identity import ProcessId
from interp_registry.stores.dated_ids import choose_id

__all__ = ["Ended", "LaunchFolder", "Task", "find_launch", "list_launches", "new_launch_id"]

SCHEMA = 1


@dataclass(frozen=True)
class Task:
    """One command of a launch.

    Attributes:
        i: Its number, from 0.
        argv: Arguments after ``interp``.
        name: For people: the item of an array, or the parameters of a sweep point.
        params: Parameters of the sweep point, by dotted name.
        experiment: Experiment of the sweep point, "" outside sweeps.
        points: Where one process runs several sweep points: the number ("i") and the parameters ("params") of each.
    """

    i: int
    argv: tuple[str, ...]
    name: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    experiment: str = ""
    points: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    Attributes:
        task: Its number.
        state: "done", "failed" or "cancelled".
        code: Exit code of the command; negative for a signal, None when it never ran.
        generation: Which holder of the lease finished it.
        started: UTC time, ISO 8601.
        ended: UTC time, ISO 8601.
        host: Machine.
        job: The queue's name of the job, "" without a queue.
        log: File with the output.
        run: Folder of the run that the command made, if it told; of several sweep points in one process, a line each.
        error: Last words of the command when it failed.
    """

    task: int
    state: str
    code: int | None = None
    generation: int = 0
    started: str = ""
    ended: str = ""
    host: str = ""
    job: str = ""
    log: str = ""
    run: str = ""
    error: str = ""


@dataclass(frozen=True)
class LaunchFolder:
    """Access to one launch folder."""

    path: Path

    @property
    def id(self) -> str:
        """Name of the launch."""
        return self.path.name

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.path / "logs"

    @property
    def leases(self) -> Path:
        """Folder of the leases."""
        return self.path / "leases"

    @property
    def script(self) -> Path:
        """The script that a queue runs."""
        return self.path / "script.sh"

    @classmethod
    def create(
        cls, parent: Path, launch_id: str, description: Mapping[str, Any], tasks: Iterable[Task]
    ) -> "LaunchFolder":
        """Make a launch folder; ``launch.json`` is written last, so that a folder without it is no launch.

        Raises:
            UsageError: There is such a launch already.
        """
        folder = cls(parent / launch_id)
        try:
            for name in ("logs", "leases", "state"):
                (folder.path / name).mkdir(parents=True)
        except FileExistsError:
            raise UsageError(f"the launch {launch_id} exists already", f"see {folder.path}") from None
        folder.append_tasks(tasks)
        replace_json(folder.path / "launch.json", {"schema": SCHEMA, "id": launch_id, **description})
        return folder

    def append_tasks(self, tasks: Iterable[Task]) -> None:
        """Add tasks; they are on disk when this returns. A line that a killed writer left unfinished is dropped first."""
        path = self.path / "tasks.jsonl"
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            whole = path.read_bytes()
            os.truncate(path, whole.rfind(b"\n") + 1)
        with path.open("a", encoding="utf-8") as target:
            target.writelines(json.dumps(asdict(task)) + "\n" for task in tasks)
            target.flush()
            os.fsync(target.fileno())

    def describe(self) -> dict[str, Any]:
        """The content of ``launch.json``.

        Raises:
            CorruptError: It is missing or no JSON.
        """
        description = read_json(self.path / "launch.json")
        if description is None:
            raise CorruptError(f"{self.path / 'launch.json'} is missing or damaged", "launch again")
        known = {one.name for one in fields(Description)} & description.keys()
        decoded(Description, {name: description[name] for name in known}, self.path / "launch.json")
        return description

    def update(self, **changes: Any) -> None:
        """Change entries of ``launch.json``."""
        replace_json(self.path / "launch.json", {**self.describe(), **changes})

    def tasks(self) -> list[Task]:
        """All tasks in order; a torn last line, left by a killed writer, is not a task yet."""
        text = (self.path / "tasks.jsonl").read_text(encoding="utf-8")
        lines = text.split("\n")[:-1]
        return [_task(line, number, self.path) for number, line in enumerate(lines)]

    def end(self, ended: Ended) -> bool:
        """Record how a task ended.

        Returns:
            False when that was recorded already; the first record stays.
        """
        return create_json(self._state(ended.task), asdict(ended))

    def ended(self, task: int) -> Ended | None:
        """How a task ended, or None while it has not."""
        data = read_json(self._state(task))
        return None if data is None else decoded(Ended, data, self._state(task))

    def all_ended(self) -> dict[int, Ended]:
        """How tasks ended, for all that did."""
        found = (self.ended(int(path.stem)) for path in (self.path / "state").glob("[0-9]*.json"))
        return {ended.task: ended for ended in found if ended is not None}

    def ended_numbers(self) -> set[int]:
        """Numbers of the tasks that have ended; cheaper than :meth:`all_ended`."""
        names = (entry.name for entry in os.scandir(self.path / "state"))
        return {int(name.removesuffix(".json")) for name in names if name[0].isdigit() and name.endswith(".json")}

    def reopen(self, task: int) -> None:
        """Forget that a task ended, so that it can be run again; the record moves to ``state/history``."""
        history = self.path / "state" / "history"
        history.mkdir(exist_ok=True)
        record = self.ended(task)
        if record is not None and record.state == "done":
            (self.path / "state" / f"{task}.run").unlink(missing_ok=True)
        self._state(task).replace(history / f"{task}.{secrets.token_hex(3)}.json")

    def times_reopened(self, task: int) -> int:
        """How often the task was opened again after it had ended."""
        return sum(1 for _ in (self.path / "state" / "history").glob(f"{task}.*.json"))

    def _state(self, task: int) -> Path:
        return self.path / "state" / f"{task}.json"

    def own(self, owner: ProcessId) -> None:
        """Note the process that owns the launch and starts its tasks one by one."""
        replace_json(self.path / "owner.json", asdict(owner))

    def owner(self) -> ProcessId | None:
        """The process that will start further tasks, if there is one and it lives as far as is known."""
        data = read_json(self.path / "owner.json")
        process = None if data is None else decoded(ProcessId, data, self.path / "owner.json")
        return None if process is None or process.known_dead() else process

    def owner_alive(self) -> bool:
        """Whether :meth:`owner` lives."""
        return self.owner() is not None

    def add_job(self, job: Mapping[str, Any]) -> None:
        """Note what was handed to the launcher."""
        with (self.path / "jobs.jsonl").open("a", encoding="utf-8") as target:
            target.write(json.dumps(job) + "\n")

    def jobs(self) -> list[Job]:
        """What was handed to the launcher, oldest first."""
        path = self.path / "jobs.jsonl"
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        places = [f", line {number + 1}" for number in range(len(lines))]
        return [decoded(Job, _mapping(line, path, at), path, at) for line, at in zip(lines, places, strict=True)]


def _task(line: str, number: int, folder: Path) -> Task:
    path, place = folder / "tasks.jsonl", f", line {number + 1}"
    task = decoded(Task, _mapping(line, path, place), path, place)
    if task.i != number:
        raise CorruptError(f"{path}{place} holds task {task.i}", "launch again")
    return task


def _mapping(line: str, path: Path, place: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise CorruptError(f"{path}{place} is damaged: {err}", "launch again") from err
    if not isinstance(data, dict):
        raise CorruptError(f"{path}{place} is damaged: {line[:80]!r} is no mapping", "launch again")
    return data


def new_launch_id(now: datetime | None = None) -> str:
    """UTC time to the second and six random hexadecimal digits, e.g. ``20260131-235959-c0ffee``."""
    return f"{now or datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def list_launches(parent: Path) -> list[LaunchFolder]:
    """All launches in a folder, newest first."""
    if not parent.is_dir():
        return []
    names = sorted((path.name for path in parent.iterdir() if (path / "launch.json").is_file()), reverse=True)
    return [LaunchFolder(parent / name) for name in names]


def find_launch(parent: Path, name: str) -> LaunchFolder:
    """The launch with this id, the beginning or end of its id, the path of its folder, or "last".

    Raises:
        UnknownNameError: There is no such launch.
        UsageError: Several match.
    """
    as_path = Path(name)
    if (as_path / "launch.json").is_file():
        return LaunchFolder(as_path.resolve())
    launches = {one.id: one for one in list_launches(parent)}
    if name == "last" and launches:
        return next(iter(launches.values()))
    return launches[choose_id("launch", name, launches, str(parent))]
