"""Folders of runs and stores that somebody else made: nothing outside is touched, nothing hangs, no terminal is driven."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from interp_cli.__main__ import run as interp
from interp_registry.stores.home import layout
from interp_registry.stores.records import read_record, replace_record
from interp_registry.stores.run import Run, RunStore

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
COMMANDS = (("runs", "list"), ("runs", "show"), ("watch", "--once"), ("watch",), ("report",), ("store", "verify"))


def received(**details: object) -> Run:
    run = RunStore(layout().runs).create("extract", {"models": [ESCAPES]}, argv=["interp", ESCAPES], details=details)
    run.start()
    run.finish({"scalars": {ESCAPES: 1.0}, "failures": [{"item": ESCAPES, "message": ESCAPES, "error": ESCAPES}]})
    return run


def edit(run: Run, name: str, **changes: object) -> None:
    """Change a record so that its digest fits, as anyone can."""
    content = {**read_record(run.path / name), **changes}
    replace_record(run.path / name, {key: value for key, value in content.items() if value is not None})


def test_no_text_of_a_run_drives_the_terminal(capfd: pytest.CaptureFixture[str]):
    run = received()
    lines = (
        {"kind": "state", "state": "failed", "detail": ESCAPES, "info": {"command": ESCAPES, "device": ESCAPES}},
        {"kind": "message", "text": ESCAPES, "level": "error"},
        {"kind": "progress", "task": ESCAPES, "done": 1, "unit": ESCAPES},
        {"kind": "scalar", "name": ESCAPES, "value": 1, "step": 1},
    )
    run.events.write_text("".join(json.dumps({"v": 1, "time": 1, **line}) + "\n" for line in lines))
    shutil.copytree(run.path, run.path.with_name(f"zz{ESCAPES}"))
    other = str(run.path.with_name(f"zz{ESCAPES}"))
    for command in (
        *COMMANDS,
        ("runs", "list", "--json"),
        ("runs", "show", "--json"),
        ("watch", other, run.id),
        ("runs", "rm", other),
    ):
        interp(list(command))
        said = "".join(capfd.readouterr())
        assert "owned" in said or command == ("store", "verify"), command
        assert not {char for char in said if not char.isprintable()} - {"\n"}, command


WRONG: dict[str, Callable[[Run], None]] = {
    "no fields": lambda run: replace_record(run.path / "record.json", {}),
    "arguments are a number": lambda run: edit(run, "record.json", argv=3),
    "no details": lambda run: edit(run, "record.json", details=None),
    "a state that there is not": lambda run: edit(run, "state.json", state="odd"),
    "no state": lambda run: (run.path / "state.json").unlink(),
    "scalars are a number": lambda run: edit(run, "result.json", scalars=3),
    "a failure that is a number": lambda run: edit(run, "result.json", failures=[1]),
    "files of the seal are a list": lambda run: replace_record(run.path / "seal.json", {"files": [1]}),
    "the seal names a device": lambda run: replace_record(run.path / "seal.json", {"files": {"/dev/zero": [0, "0"]}}),
    "the seal leads out": lambda run: replace_record(run.path / "seal.json", {"files": {"../../x": [0, "0"]}}),
    "events are a pipe": lambda run: os.mkfifo(run.events),
    "options are a number": lambda run: edit(run, "record.json", details={"options": 3}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_well_sealed_record_that_lies_is_named(name: str, capfd: pytest.CaptureFixture[str]):
    WRONG[name](received())
    codes = [interp(list(command)) for command in (*COMMANDS, ("runs", "rerun"))]
    said = capfd.readouterr().err
    assert "defect" not in said
    assert set(codes) <= {0, 1, 2, 3}
    assert "corrupt" in said or "missing" in said or name == "events are a pipe"


def test_removing_a_link_removes_the_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run, theirs = received(), tmp_path / "theirs"
    shutil.move(run.path, theirs)
    before = sorted(path.name for path in theirs.iterdir())
    run.path.symlink_to(theirs)
    table = layout().store / "features" / "theirs"
    table.parent.mkdir(parents=True)
    table.symlink_to(theirs)
    assert interp(["runs", "rm", run.path.name]) == 0
    assert interp(["store", "rm", "-y", "theirs"]) == 0
    assert not run.path.is_symlink()
    assert not table.is_symlink()
    assert sorted(path.name for path in theirs.iterdir()) == before
    assert "deleted" in capsys.readouterr().out


def test_an_identity_that_is_a_path_is_only_a_name(tmp_path: Path):
    run = received()
    edit(run, "record.json", id="../../../../x", command="../x")
    assert interp(["report", run.path.name]) == 0
    assert interp(["runs", "rerun", run.path.name]) == 2
    assert interp(["runs", "rm", run.path.name]) == 0
    assert [path.name for path in layout().runs.iterdir()] == []
    assert list(tmp_path.iterdir()) == []
