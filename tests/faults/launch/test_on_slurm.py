"""The slurm launcher against a real SLURM: caps, the time-limit signal, preemption, cancelling, kill -9 and retry."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interp_cli.launch.folder import LaunchFolder
from interp_cli.launch.leases import newest_lease
from interp_cli.launch.status import cancel, counts, retry, task_states
from interp_cli.launch.submit import gpus_in_use, submit
from interp_plugins.launchers import slurm as slurm_launcher
from interp_plugins.launchers.config import SlurmLauncherConfig
from interp_registry.choices import LauncherConfig
from interp_registry.discovery import discover
from interp_registry.errors import UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _cluster(slurm: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    discover()
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    monkeypatch.setenv("HOME", str(tmp_path))


def _wait(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def _all_ended(folder: LaunchFolder, n: int) -> bool:
    return len(folder.ended_numbers()) == n


def _outputs(out: Path) -> dict[str, str]:
    return {path.stem: json.loads(path.read_text())["digest"] for path in out.glob("*.json")}


def _expected(names: list[str]) -> dict[str, str]:
    return {name: hashlib.sha256(name.encode()).hexdigest() for name in names}


def test_an_array_of_eight_respects_its_cap_and_gives_the_outputs_of_a_local_run(worker: Any, tmp_path: Path) -> None:
    names = [f"m{i}" for i in range(8)]
    done = submit(worker(SlurmLauncherConfig(), names, 0.6, gpus=1, n_agents=8, max_gpus=3))
    most = 0
    while not _all_ended(done.folder, 8):
        states = task_states(done.folder)
        most = max(most, counts(states).get("running", 0))
        time.sleep(0.1)
    assert 1 <= most <= 3
    assert done.launch.n_agents == 3
    assert counts(task_states(done.folder)) == {"done": 8}
    assert _outputs(worker.out) == _expected(names)
    job = done.jobs[0].id
    assert (
        "done m5 0" in (done.folder.logs / f"{job}_5.out").read_text()
        or "done m5" in (done.folder.logs / f"{job}_5.out").read_text()
    )
    link = tmp_path / "slurm_logs" / f"slurm-{job}_5.out"
    assert link.is_symlink()
    assert "done m5" in link.read_text()


def test_the_time_limit_signal_requeues_a_task_which_goes_on_where_it_was(worker: Any, slurm: Any) -> None:
    done = submit(worker(SlurmLauncherConfig(), ["a"], 6.0))
    job = done.jobs[0].id
    part = worker.out / "a.part"
    _wait(lambda: part.exists() and int(part.read_text()) >= 2)
    slurm.ask("scancel", "--batch", "--signal=USR2", f"{job}_0")
    lease = _wait(lambda: (found := newest_lease(done.folder.leases, 0)) and found.released and found)
    assert lease.released == "signal SIGUSR2"
    reached = int(part.read_text())
    assert reached < 10
    _wait(lambda: "PENDING" in slurm.ask("squeue", "-h", "-r", "-j", job, "-o", "%T"))
    assert counts(task_states(done.folder)) == {"waiting": 1}
    slurm.restart_now(f"{job}_0")
    _wait(lambda: _all_ended(done.folder, 1))
    ended = done.folder.ended(0)
    assert (ended.state, ended.generation) == ("done", 2)
    assert _outputs(worker.out) == _expected(["a"])


def test_a_task_preempted_by_a_higher_partition_is_started_again_by_slurm(worker: Any, slurm: Any) -> None:
    done = submit(worker(SlurmLauncherConfig(), ["p"], 24.0, gpus=8, max_gpus=8))
    part = worker.out / "p.part"
    _wait(lambda: part.exists() and int(part.read_text()) >= 2)
    slurm.ask("sbatch", "--partition=high", "--gpus-per-node=8", "--output=/dev/null", "--wrap=sleep 1")
    lease = _wait(lambda: (found := newest_lease(done.folder.leases, 0)) and found.released and found)
    assert lease.released == "signal SIGTERM"
    job = done.jobs[0].id
    _wait(lambda: "PENDING" in slurm.ask("squeue", "-h", "-r", "-j", job, "-o", "%T"))
    slurm.restart_now(f"{job}_0")
    _wait(lambda: _all_ended(done.folder, 1))
    ended = done.folder.ended(0)
    assert (ended.state, ended.generation) == ("done", 2)
    assert _outputs(worker.out) == _expected(["p"])


def test_cancelled_and_killed_tasks_end_and_retry_finishes_them(worker: Any, slurm: Any) -> None:
    names = ["killed", "cancelled", "plain"]
    done = submit(worker(SlurmLauncherConfig(), names, 4.0))
    _wait(lambda: all((worker.out / f"{name}.part").exists() for name in names))
    lease = newest_lease(done.folder.leases, 0)
    os.kill(lease.owner.pid, signal.SIGKILL)
    assert cancel(done.folder, [1]) == [1]
    _wait(lambda: done.folder.ended(2))
    _wait(lambda: counts(task_states(done.folder)) == {"cancelled": 1, "done": 1, "lost": 1})
    assert retry(done.folder) == [0, 1]
    _wait(lambda: _all_ended(done.folder, 3))
    assert counts(task_states(done.folder)) == {"done": 3}
    assert _outputs(worker.out) == _expected(names)


def test_a_plain_scancel_shows_as_interrupted_and_a_failure_shows_its_last_words(worker: Any, slurm: Any) -> None:
    done = submit(worker(SlurmLauncherConfig(), ["slow", "bad"], 4.0))
    _wait(lambda: (worker.out / "slow.part").exists() and done.folder.ended(1))
    slurm.ask("scancel", f"{done.jobs[0].id}_0")
    _wait(lambda: counts(task_states(done.folder)) == {"failed": 1, "interrupted": 1})
    ended = done.folder.ended(1)
    assert (ended.code, ended.error) == (1, "this item is bad")
    (worker.out / "mended").touch()
    assert retry(done.folder) == [0, 1]
    _wait(lambda: _all_ended(done.folder, 2))
    assert _outputs(worker.out) == _expected(["slow", "bad"])


def test_arrays_beyond_the_sites_limit_are_split(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slurm_launcher._max_array_size() == 121
    monkeypatch.setattr(slurm_launcher, "_DEFAULT_ARRAY_SIZE", 1)
    monkeypatch.setattr(slurm_launcher, "_max_array_size", lambda: 21)
    names = [f"s{i}" for i in range(25)]
    done = submit(worker(SlurmLauncherConfig(), names, 0.0, n_agents=12))
    assert [len(job.tasks) for job in done.jobs] == [21, 4]
    _wait(lambda: _all_ended(done.folder, 25))
    assert _outputs(worker.out) == _expected(names)


def test_the_cap_counts_the_gpus_of_all_launches(worker: Any) -> None:
    first = submit(worker(SlurmLauncherConfig(), [f"g{i}" for i in range(20)], 20.0, gpus=1, n_agents=6))
    try:
        assert gpus_in_use() == 6
        second = submit(worker(SlurmLauncherConfig(), ["x", "y", "z"], 20.0, gpus=1))
        assert second.launch.n_agents == 2
        assert "6 GPUs of at most 8" in second.notes[0]
        _wait(lambda: gpus_in_use() == 8)  # for a moment the third task was listed without the array's limit
        with pytest.raises(UsageError, match="8 of at most 8 GPUs"):
            submit(worker(SlurmLauncherConfig(), ["w"], gpus=1))
        forced = submit(worker(SlurmLauncherConfig(), ["w"], gpus=1, force=True))
        cancel(forced.folder)
        cancel(second.folder)
    finally:
        cancel(first.folder)
    _wait(lambda: gpus_in_use() == 0)
    assert set(LauncherConfig.get_known_choices()) >= {"local", "slurm", "ssh", "print"}


def test_100_tasks_are_handed_over_in_under_half_a_second(worker: Any) -> None:
    spent: list[float] = []
    for _ in range(3):
        request = worker(SlurmLauncherConfig(), [f"t{i}" for i in range(100)], 30.0, n_agents=1)
        start = time.perf_counter()
        done = submit(request)
        spent.append(time.perf_counter() - start)
        cancel(done.folder)
        assert len(done.folder.tasks()) == 100
    assert min(spent) < 0.5, spent


def _shards(home: Path) -> dict[str, str]:
    files = sorted((home / "store").rglob("*.safetensors"))
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _interp(*words: str, **variables: str) -> str:
    command = [sys.executable, "-P", "-m", "interp_cli", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **variables}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_extraction_on_slurm_interrupted_and_requeued_equals_a_local_run(slurm: Any, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    extract = ("--limit", "96", "--device", "cpu", "--no-report")
    words = ("launch", "slurm", "--array", "lm-d32,lm-d64", "--cpu", "--no-snapshot", "--json", "--out", str(there))
    said = json.loads(_interp(*words, "--", "extract", "{item}", *extract))
    folder, job = LaunchFolder(Path(said["folder"])), said["jobs"][0]
    _wait(lambda: newest_lease(folder.leases, 0))
    slurm.ask("scancel", "--batch", "--signal=USR2", f"{job}_0")
    _interp("extract", "lm-d32", "lm-d64", *extract, "--out", str(here))
    if folder.ended(0) is None:
        slurm.restart_now(f"{job}_0")
    _wait(lambda: _all_ended(folder, 2))
    assert counts(task_states(folder)) == {"done": 2}, [ended.error for ended in folder.all_ended().values()]
    assert folder.ended(0).generation == 2
    assert len(_shards(here)) >= 2
    assert _shards(there) == _shards(here)
    runs = [Path(ended.run) for ended in folder.all_ended().values()]
    assert all((run / "result.json").is_file() and run.is_relative_to(there) for run in runs)


@pytest.mark.nightly
def test_srun_starts_the_processes_of_one_command_which_share_its_work(slurm: Any, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    words = ["extract", "lm-d32", "--limit", "96", "--shard-rows", "16", "--device", "cpu", "--no-report", "--json"]
    command = [
        "srun",
        "--ntasks=2",
        sys.executable,
        "-P",
        "-m",
        "interp_cli",
        *words,
        "--num-processes",
        "2",
        "--out",
        str(together),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert answer.returncode == 0, answer.stderr
    assert len(answer.stdout.splitlines()) == 1
    _interp(*words, "--out", str(alone))
    assert len(_shards(alone)) >= 6
    assert _shards(together) == _shards(alone)
