"""A sweep of 48 points, 20 kills of its agents at random (nightly ten times both): nothing lost, nothing done twice, no standstill."""

import hashlib
import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tiers import times

from interp_cli.launch.leases import newest_lease
from interp_cli.launch.status import task_states
from interp_cli.launch.submit import submit
from interp_plugins.launchers.config import LocalLauncherConfig
from interp_registry.discovery import discover
from interp_registry.process_identity import ProcessId

pytestmark = pytest.mark.slow

N_POINTS, N_KILLS = times(48), times(20)


def _agents(pool: int) -> list[int]:
    """The agents that a pool started; their own children are not among them."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(parent) == pool and b"interp_cli.launch.agent" in words:
                found.append(int(entry.name))
    return found


def _children_of(name: str) -> int:
    n_found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                n_found += name.encode() in (entry / "cmdline").read_bytes()
            except OSError:
                continue
    return n_found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_sweep_survives_the_kills_of_its_agents(worker: Any) -> None:
    discover()
    names = [f"p{i}" for i in range(N_POINTS)]
    done = submit(worker(LocalLauncherConfig(), names, 1.0, n_agents=4))
    chance, kills, stall = random.Random(7), 0, 0.0
    last, seen = time.monotonic(), 0
    next_kill = time.monotonic() + 1.0
    while len(done.folder.ended_numbers()) < N_POINTS:
        now = time.monotonic()
        progress = sum(int(path.read_text() or 0) for path in worker.out.glob("*.part"))
        if progress != seen:
            stall, last, seen = max(stall, now - last), now, progress
        assert now - last < 30, "the sweep stands still"
        agents = _agents(int(done.jobs[0].details["pid"]))
        if kills < N_KILLS and now > next_kill and agents:
            with suppress(ProcessLookupError):  # it ended by itself since it was listed
                os.kill(chance.choice(agents), signal.SIGKILL)
                kills += 1
            next_kill = now + chance.uniform(0.2, 0.8)
        time.sleep(0.02)
    assert kills == N_KILLS
    failed = [(s.ended, Path(s.ended.log).read_text()) for s in task_states(done.folder) if s.state != "done"]
    assert failed == []
    outputs = {path.stem: json.loads(path.read_text())["digest"] for path in worker.out.glob("*.json")}
    assert outputs == {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    ended = done.folder.all_ended()
    assert sorted(ended) == list(range(N_POINTS))
    generations = sum(one.generation for one in ended.values())
    assert N_POINTS <= generations <= N_POINTS + N_KILLS
    said = [path.read_text().count("done p") for path in done.folder.logs.glob("agent*_*.out")]
    assert sum(said) == N_POINTS, "a point was computed to its end twice"
    assert stall < 5.0, f"nothing moved for {stall:.1f} s"
    pool = ProcessId(**{**done.jobs[0].details, "pid": int(done.jobs[0].details["pid"])})
    deadline = time.monotonic() + 60
    while not pool.known_dead() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pool.known_dead()
    assert _children_of(str(worker.out)) == 0


def test_a_paused_holder_that_lost_its_task_does_not_record_it(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder stands still for longer than the grace; another takes over; the first must not count."""
    discover()
    done = submit(worker(LocalLauncherConfig(), ["only"], 2.0, n_agents=1))
    deadline = time.monotonic() + 60
    while (lease := newest_lease(done.folder.leases, 0)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(lease.owner.pid, signal.SIGSTOP)
    try:
        monkeypatch.setattr("interp_cli.launch.leases.GRACE_SECONDS", 0.5)
        from interp_cli.launch.leases import claim

        deadline = time.monotonic() + 60
        while (taken := claim(done.folder.leases, 0)) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert taken is not None
        assert taken.info.generation == 2
    finally:
        os.kill(lease.owner.pid, signal.SIGCONT)
    time.sleep(2.5)
    assert done.folder.ended(0) is None
    taken.release("the test is over")
    deadline = time.monotonic() + 60
    while done.folder.ended(0) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert done.folder.ended(0).state == "done"
    assert done.folder.ended(0).generation == 3
