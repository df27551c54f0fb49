"""Leases: one holder at a time, taken over only when the holder is certainly or long gone."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interp_cli.launch import leases
from interp_cli.launch.leases import claim, newest_lease
from interp_registry.process_identity import ProcessId, this_process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def _set_owner(path: Path, **changes: object) -> None:
    data = json.loads(path.read_text())
    data["owner"] |= changes
    path.write_text(json.dumps(data))


def test_a_task_has_one_holder_at_a_time(folder: Path) -> None:
    first = claim(folder, 3)
    assert first is not None
    assert first.info.generation == 1
    assert claim(folder, 3) is None
    assert first.held()
    assert claim(folder, 4) is not None


def test_a_released_task_can_be_taken_at_once(folder: Path) -> None:
    first = claim(folder, 0)
    first.release("preempted")
    second = claim(folder, 0)
    assert second.info.generation == 2
    assert newest_lease(folder, 0).generation == 2
    assert not first.held()
    assert not first.beat()


def test_the_task_of_a_dead_process_of_this_machine_can_be_taken_at_once(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    first = claim(folder, 0)
    _set_owner(first.info.path, pid=child.pid)
    assert claim(folder, 0).info.generation == 2


def test_a_process_number_that_was_used_again_is_another_process(folder: Path) -> None:
    first = claim(folder, 0)
    _set_owner(first.info.path, start="1")
    assert claim(folder, 0) is not None


def test_a_holder_on_another_machine_is_trusted_until_it_is_silent_for_the_grace(folder: Path) -> None:
    first = claim(folder, 0)
    _set_owner(first.info.path, host="elsewhere", pid=1)
    assert claim(folder, 0) is None
    old = first.info.path.stat().st_mtime - leases.GRACE_SECONDS - 5
    os.utime(first.info.path, (old, old))
    assert claim(folder, 0) is not None


def test_a_job_that_the_queue_started_again_takes_its_own_task(folder: Path) -> None:
    first = claim(folder, 0, job="12_0", restart=0)
    _set_owner(first.info.path, host="elsewhere")
    assert claim(folder, 0, job="13_0", restart=1) is None
    assert claim(folder, 0, job="12_0", restart=0) is None
    assert claim(folder, 0, job="12_0", restart=1).info.generation == 2


def test_an_empty_lease_file_does_not_block_for_ever(folder: Path) -> None:
    path = folder / "0.1.json"
    path.touch()
    assert claim(folder, 0) is None
    os.utime(path, (1, 1))
    assert claim(folder, 0) is not None


def test_only_one_of_many_processes_gets_a_task(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from interp_cli.launch.leases import claim; sys.stdin.readline();"
        "lease = claim(Path(sys.argv[1]), 0); print('yes' if lease else 'no', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.stdout.readline().strip() for racer in racers]
    for racer in racers:
        racer.communicate("end\n")
    assert sorted(said) == ["no", "no", "no", "yes"]


def test_this_process_is_alive_and_here() -> None:
    me = this_process()
    assert me.here()
    assert not me.known_dead()
    assert not dataclasses.replace(me, host="elsewhere").known_dead()
    assert ProcessId.of(os.getpid()) == me
