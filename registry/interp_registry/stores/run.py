"""Run folders: what was asked, by whom it was run, how it went, and what it made.

One run is one folder::

    record.json        command, arguments, parent, where each setting came from; written once
    config.yaml        the resolved configuration; a comment says where values came from; usable with --config
    environment.json   versions, machine, commit; no secrets
    state.json         created, running, done, failed or interrupted; by which process
    events.jsonl       progress, scalars, tables: what dashboards read
    result.json        numbers, tables, figures, failures
    seal.json          written last: length and sha256 of every file but state.json and the checkpoints
    checkpoints/, and whatever the stage writes

Ids begin with the time in UTC, so they sort by age, and end with random digits, so they never collide.
"""

import enum
import os
import secrets
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from interp_registry.config_io import dump_yaml, read_yaml
from interp_registry.errors import CorruptError, UsageError
from interp_registry.stores.artifact import make_folder, translated, whole_folder
from interp_registry.stores.dated_ids import choose_id
from interp_registry.stores.environment import collect_environment, redact, redact_json
from interp_registry.stores.hashing import hash_file
from interp_registry.stores.keys import Json
from interp_registry.stores.liveness import host_name, process_alive, process_start
from interp_registry.stores.records import read_record, record_bytes, replace_record, require_fields

__all__ = ["Run", "RunState", "RunStore"]

_RECORD, _CONFIG, _STATE, _SEAL = "record.json", "config.yaml", "state.json", "seal.json"
_ENVIRONMENT, _EVENTS, _RESULT = "environment.json", "events.jsonl", "result.json"
_LONGEST_NAME = 200
_LATEST = 50
_RECORD_FIELDS = {"id": str, "command": str, "argv": list, "created": str, "origins": dict, "details": dict}
_STATE_FIELDS = {"state": str, "detail": str, "host": str, "pid": int}
_RESULT_FIELDS = {"scalars": dict, "failures": list}


class RunState(enum.StrEnum):
    """What became of a run."""

    CREATED = "created"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Run:
    """One run's folder.

    Attributes:
        path: The folder.
        record: What ``record.json`` says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = _checked(path / _RECORD, _RECORD_FIELDS)

    @property
    def id(self) -> str:
        """Its identity, sortable by time."""
        return self.record["id"]

    @property
    def command(self) -> str:
        """The stage that was run, e.g. "align" or "lens train"."""
        return self.record["command"]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return read_yaml(self.path / _CONFIG)

    @property
    def events(self) -> Path:
        """File of its events."""
        return self.path / _EVENTS

    @property
    def checkpoints(self) -> Path:
        """Folder of its training checkpoints."""
        return self.path / "checkpoints"

    @property
    def result(self) -> dict[str, Any] | None:
        """What it found; None before it is done."""
        path = self.path / _RESULT
        return _with_words(path, read_record(path)) if path.is_file() else None

    def artifact(self, name: str) -> Path:
        """Where to write a file or folder of this run; the folders above it are made.

        Args:
            name: A relative path, e.g. "scores.npz" or "figures/a.svg". Names that users chose go through ``slug`` first.

        Raises:
            UsageError: The name would lead out of the run's folder or cannot be a file name.
        """
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > _LONGEST_NAME for part in parts):
            raise UsageError(f"{name[:80]!r} cannot be the name of an artifact", "use plain names, without .. and /")
        path = self.path.joinpath(*parts)
        make_folder(path.parent)
        return path

    @property
    def state(self) -> RunState:
        """What became of it; "interrupted" also when its process is gone without having said so."""
        status = self.status
        try:
            state = RunState(status["state"])
        except ValueError:
            raise CorruptError(f"{self.path / _STATE} is corrupt: no state {status['state']!r}") from None
        if state in (RunState.CREATED, RunState.RUNNING) and not _still_there(status):
            return RunState.INTERRUPTED
        return state

    @property
    def status(self) -> dict[str, Any]:
        """What ``state.json`` says: state, detail, time, and the process that wrote it."""
        return _checked(self.path / _STATE, _STATE_FIELDS)

    def start(self) -> None:
        """Say that this process is running it; what was sealed before may change again."""
        with translated(self.path):
            (self.path / _SEAL).unlink(missing_ok=True)
        self._enter(RunState.RUNNING)

    def finish(self, result: Mapping[str, Json]) -> None:
        """Store what it found and say that it is done."""
        replace_record(self.path / _RESULT, redact_json(result))
        self._enter(RunState.DONE)

    def fail(self, message: str) -> None:
        """Say that it failed, and why in one line."""
        self._enter(RunState.FAILED, message)

    def interrupt(self, detail: str = "") -> None:
        """Say that it was stopped and can go on."""
        self._enter(RunState.INTERRUPTED, detail)

    def _enter(self, state: RunState, detail: str = "") -> None:
        replace_record(self.path / _STATE, _status(state, redact(detail)))

    def seal(self) -> None:
        """Record length and sha256 of every file, so that :meth:`problems` finds any later change. Call it last."""
        files = {
            path.relative_to(self.path).as_posix(): [path.stat().st_size, hash_file(path)] for path in self._sealable()
        }
        replace_record(self.path / _SEAL, {"files": files})

    def _sealable(self) -> Iterator[Path]:
        apart = {_SEAL, _STATE}
        for path in sorted(self.path.rglob("*")):
            inside = path.relative_to(self.path)
            mutable = inside.as_posix() in apart or inside.parts[0] == "checkpoints" or path.name.endswith(".tmp")
            if path.is_file() and not path.is_symlink() and not mutable:
                yield path

    def problems(self) -> list[str]:
        """What is wrong with the run's files, one line each that names the file; empty when all is as it was written."""
        found: list[str] = []
        for name in (_RECORD, _STATE, _ENVIRONMENT, _RESULT, _SEAL):
            if (self.path / name).exists():
                try:
                    read_record(self.path / name)
                except CorruptError as err:
                    found.append(err.message)
        seal = self.path / _SEAL
        if seal.exists() and not any(str(seal) in line for line in found):
            found += self._sealed_problems(_checked(seal, {"files": dict})["files"], found)
        return found

    def _sealed_problems(self, files: Mapping[str, Any], known: Sequence[str]) -> list[str]:
        found: list[str] = []
        for name, stated in files.items():
            path = self.path / name
            if not path.resolve().is_relative_to(self.path.resolve()):
                found.append(f"{self.path / _SEAL} is corrupt: {name!r} leads out of the run's folder")
            elif not path.is_file():
                found.append(f"{path} is missing")
            elif [path.stat().st_size, hash_file(path)] != stated:
                found.append(f"{path} is corrupt: it was changed after the run")
        return [line for line in found if not any(line.split(" is ")[0] in other for other in known)]


def _checked(path: Path, fields: Mapping[str, type]) -> dict[str, Any]:
    """A record that must be there, with its fields.

    Raises:
        CorruptError: It is missing, or not what was written.
    """
    try:
        return require_fields(path, read_record(path), fields)
    except FileNotFoundError:
        raise CorruptError(f"{path} is missing") from None


def _with_words(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """A result, after checking the parts of it that commands show."""
    require_fields(path, result, {name: kind for name, kind in _RESULT_FIELDS.items() if name in result})
    for failure in result.get("failures", []):
        if not isinstance(failure, dict) or not {"item", "message"} <= failure.keys():
            raise CorruptError(f"{path} is corrupt: {failure!r:.40} is no failure")
    return result


def _status(state: RunState, detail: str = "") -> dict[str, Any]:
    return {
        "state": state.value,
        "detail": detail,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "host": host_name(),
        "pid": os.getpid(),
        "process_start": process_start(os.getpid()),
    }


def _still_there(status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a status may still run; on another machine nobody can say."""
    return status["host"] != host_name() or process_alive(status["pid"], status["process_start"])


class RunStore:
    """All runs below one folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(
        self,
        command: str,
        config: Mapping[str, Any],
        origins: Mapping[str, str] | None = None,
        argv: Sequence[str] = (),
        details: Mapping[str, Json] | None = None,
    ) -> Run:
        """Make the folder of a new run, which appears as a whole; its state is "created".

        Args:
            command: The stage, e.g. "lens train".
            config: The resolved configuration.
            origins: Where each value came from, by dotted path; defaults may be left out.
            argv: The command line.
            details: Further facts to keep in ``record.json``, e.g. seed, parent run, versions of plugins.

        Raises:
            ResourceError: The folder cannot be written.
        """
        identity = _new_id()
        record: dict[str, Any] = {
            "format": 1,
            "id": identity,
            "command": command,
            "argv": [redact(argument) for argument in argv],
            "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "origins": redact_json(dict(origins or {})),
            "details": redact_json(dict(details or {})),
        }
        records = {_STATE: _status(RunState.CREATED), _ENVIRONMENT: collect_environment(argv), _RECORD: record}
        text = _config_text(command, identity, config, record["origins"]).encode("utf-8", "surrogateescape")
        with whole_folder(make_folder(self.root) / identity) as folder:
            (folder / _CONFIG).write_bytes(text)
            for name, content in records.items():
                (folder / name).write_bytes(record_bytes(content))
        return Run(self.root / identity)

    def folders(self) -> list[Path]:
        """All runs' folders, oldest first, without those that are still being written."""
        return sorted(path.parent for path in self.root.glob(f"[!.]*/{_RECORD}"))

    def runs(self) -> Iterator[Run]:
        """All runs, oldest first; folders that are none, or whose record is corrupt, are left out."""
        for path in self.folders():
            try:
                yield Run(path)
            except CorruptError:
                continue

    def get(self, name: str) -> Run:
        """A run by its id, an unmistakable beginning or ending of it, "last", or its folder.

        "last" is the latest that no other run here has started: after a decomposition it is that, not the target it trained.

        Raises:
            UnknownNameError: There is no such run.
            UsageError: Several runs match.
        """
        if "/" in name and (Path(name) / _RECORD).is_file():
            return Run(Path(name))
        folders = {path.name: path for path in self.folders()}
        if name == "last" and folders:
            return Run(next(path for path in reversed(folders.values()) if not _started_by(path, folders)))
        return Run(folders[choose_id("run", name, folders, str(self.root))])

    def latest_here(self) -> Run | None:
        """The latest run that this process has made or gone on with, among the latest of all; None when there is none."""
        here = {"host": host_name(), "pid": os.getpid(), "process_start": process_start(os.getpid())}
        for path in self.folders()[: -_LATEST - 1 : -1]:
            try:
                run = Run(path)
                if here.items() <= run.status.items():
                    return run
            except CorruptError:
                continue
        return None

    def remove(self, run: Run, force: bool = False) -> None:
        """Delete a run's folder with everything in it; of a link to a folder elsewhere, the link alone.

        Raises:
            UsageError: It is running, and ``force`` is not set.
        """
        if not force and run.state is RunState.RUNNING:
            raise UsageError(f"run {run.id} is running (process {run.status['pid']} on {run.status['host']})")
        if run.path.is_symlink():
            run.path.unlink()
            return
        (run.path / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(run.path)


def _started_by(folder: Path, known: Container[str]) -> str:
    """Id of the known run that started the run of a folder; empty when none did, or when its record cannot be read."""
    try:
        parent = read_record(folder / _RECORD).get("details", {}).get("parent", "")
    except CorruptError:
        return ""
    return parent if parent in known else ""


def _new_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"[:18] + f"Z-{secrets.token_hex(3)}"


def _config_text(command: str, identity: str, config: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """The configuration with a comment in front that says where its values came from."""
    set_by = [f"#   {name}: {source}" for name, source in sorted(origins.items()) if source != "default"]
    lines = [f"# interp {command}, run {identity}", *(["# not defaults:", *set_by] if set_by else [])]
    comment = "\n".join("".join(char if char.isprintable() else " " for char in line) for line in lines)
    return f"{comment}\n{dump_yaml(redact_json(config))}"
