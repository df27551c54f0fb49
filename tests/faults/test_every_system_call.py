"""Each system call of each way of writing fails once, and is once the last that the process makes."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from child_processes import fork, wait
from small_tables import SmallTable, content
from system_calls import SystemCalls, end, fail

from interp_registry.errors import ResourceError
from interp_registry.stores.artifact import collect_garbage, commit, replace
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.stores.records import read_record, replace_record
from interp_registry.stores.run import RunState, RunStore

Write = Callable[[Path], object]


def commit_file(folder: Path) -> None:
    commit(folder / "file", lambda file: [file.write(b"a" * 5000), file.flush(), file.write(b"b" * 5000)])


def replace_file(folder: Path) -> None:
    replace(folder / "file", lambda file: file.write(b"a" * 5000 + b"b" * 5000))


def replace_state(folder: Path) -> None:
    replace_record(folder / "state", {"value": "x" * 100})


def write_table(folder: Path) -> None:
    SmallTable(2).complete(folder)


def save_checkpoints(folder: Path) -> None:
    store = CheckpointStore(folder, keep_last=1)
    for step in (1, 2):
        store.save(step, {"w": torch.arange(9.0)}, {"step": step})


def make_run(folder: Path) -> None:
    for old in RunStore(folder).runs():
        if old.state is not RunState.DONE:
            RunStore(folder).remove(old, force=True)
    run = RunStore(folder).create("x", {"a": 1})
    run.start()
    run.finish({"scalars": {}})
    run.seal()


def check_file(folder: Path) -> None:
    assert not (folder / "file").exists() or (folder / "file").read_bytes() == b"a" * 5000 + b"b" * 5000


def check_state(folder: Path) -> None:
    assert not (folder / "state").exists() or read_record(folder / "state") == {"value": "x" * 100}


def check_table(folder: Path) -> None:
    table = SmallTable(2)
    if (folder / "features").exists():
        assert table.open(folder).problems() == []


def check_checkpoints(folder: Path) -> None:
    store = CheckpointStore(folder)
    assert store.problems() == []
    latest = store.latest()
    assert latest is None or torch.equal(latest.weights()["w"], torch.arange(9.0))


def check_runs(folder: Path) -> None:
    for run in RunStore(folder).runs():
        assert run.problems() == []
        assert run.config == {"a": 1}


WAYS = {
    "commit": (commit_file, check_file, 8),
    "replace": (replace_file, check_file, 8),
    "record": (replace_state, check_state, 8),
    "table": (write_table, check_table, 50),
    "checkpoints": (save_checkpoints, check_checkpoints, 40),
    "run": (make_run, check_runs, 50),
}


QUICK, LONG = ("commit", "replace", "record"), ("table", "checkpoints", "run")


@pytest.fixture
def way(request, monkeypatch):
    monkeypatch.setattr("interp_registry.stores.run.collect_environment", lambda argv: {"argv": list(argv)})
    write, check, at_least = WAYS[request.param]
    return request.param, write, check, at_least


def calls_of(write: Write, folder: Path) -> int:
    calls = SystemCalls()
    folder.mkdir()
    with calls.failing_at(None, end):
        write(folder)
    return len(calls.names)


def written(name: str, folder: Path) -> dict[str, bytes] | None:
    """What must be there in the end, where that does not depend on the time of day."""
    if name == "run":
        return None
    inner = next((folder / "features").iterdir()) if name == "table" else folder
    if name == "checkpoints":
        inner = folder / "step-00000002"
    return content(inner)


def error_of(write: Write, place: Path) -> ResourceError | None:
    """The one kind of error that writing may end with."""
    try:
        write(place)
    except ResourceError as err:
        return err
    return None


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failing_call_gives_one_clear_error_and_loses_nothing(way, folder: Path, number: int):
    name, write, check, at_least = way
    total = calls_of(write, folder / "whole")
    assert total >= at_least
    failed = 0
    for k in range(1, total + 1):
        place = folder / f"{k}"
        place.mkdir()
        calls = SystemCalls()
        with calls.failing_at(k, fail(number)):
            error = error_of(write, place)
        failed += error is not None
        assert error is None or "run the same command again" in str(error)
        check(place)
        left = [path for path in place.rglob("*.tmp") if not path.is_dir()]
        assert len(left) <= (calls.names[k - 1] in ("unlink", "rmdir", "open", "close")), (k, calls.names[k - 1])
        write(place)
        check(place)
        if written(name, place) is not None:
            assert written(name, place) == written(name, folder / "whole")
    assert failed > total // 2


def end_at_every_call(way, folder: Path) -> None:
    name, write, check, at_least = way
    total = calls_of(write, folder / "whole")
    assert total >= at_least
    for k in range(1, total + 1):
        place = folder / f"{k}"
        place.mkdir()
        calls = SystemCalls()

        def broken(place: Path = place, calls: SystemCalls = calls, k: int = k) -> None:
            with calls.failing_at(k, end):
                write(place)

        assert wait(fork(broken)) == 9
        check(place)
        write(place)
        check(place)
        collect_garbage(place)
        assert list(place.rglob("*.tmp")) == []
        if written(name, place) is not None:
            assert written(name, place) == written(name, folder / "whole")


@pytest.mark.parametrize("way", QUICK, indirect=True)
def test_a_process_that_ends_at_any_call_leaves_what_can_be_gone_on_with(way, folder: Path):
    end_at_every_call(way, folder)


@pytest.mark.slow
@pytest.mark.parametrize("way", LONG, indirect=True)
def test_a_process_that_ends_at_any_call_of_long_work_leaves_what_can_be_gone_on_with(way, folder: Path):
    end_at_every_call(way, folder)
