"""SIGKILL at any moment: nothing is lost, nothing is corrupt, and going on gives the same bytes."""

import itertools
import random
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from child_processes import fork, kill, run_and_kill, wait
from small_tables import SmallTable, content
from tiers import counts, times

from interp_registry.stores.artifact import collect_garbage
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.stores.features import FeatureEntry
from interp_registry.stores.run import RunState, RunStore


def race(table: SmallTable, root: Path, chance: random.Random) -> tuple[int, bool]:
    """Two writers at once, each killed with probability 0.8 after up to 0.12 s; kills made, and whether one came through."""
    pids = [fork(partial(table.complete, root, random.Random(chance.random()))) for _ in range(2)]
    deadlines = [(pid, chance.uniform(0, 0.12)) for pid in pids if chance.random() < 0.8]
    started, kills = time.monotonic(), 0
    for pid, after in sorted(deadlines, key=lambda item: item[1]):
        time.sleep(max(0.0, started + after - time.monotonic()))
        kill(pid)
    codes = [wait(pid) for pid in pids]
    assert all(code in (0, -9) for code in codes)
    kills = codes.count(-9)
    return kills, 0 in codes


@pytest.mark.parametrize("wanted", counts(30, 200))
def test_two_writers_that_are_killed_leave_the_same_bytes_in_the_end(folder: Path, wanted: int):
    """They race in one store after the other until so many were killed."""
    table, chance, kills, stores, checked = SmallTable(60, 128, 64), random.Random(0), 0, 0, 0
    expected = content(table.complete(folder / "whole").path)
    while kills < wanted:
        root = folder / f"store {stores}"
        through = False
        while not through:
            count, through = race(table, root, chance)
            kills += count
            entry = table.open(root)
            checked += len(entry.present_shards())
            assert entry.problems() == []
        table.complete(root)
        assert content(entry.path) == expected
        garbage = collect_garbage(root)
        assert set(entry.path.iterdir()) == {entry.path / name for name in expected}
        assert all(path.name.endswith(".tmp") for path in garbage)
        stores += 1
    assert kills >= wanted
    assert checked > 10 * stores


def test_killed_checkpointing_leaves_whole_checkpoints_only(folder: Path):
    store = CheckpointStore(folder / "checkpoints", keep_last=2)
    weights = {"w": torch.arange(4096.0)}

    def train() -> None:
        latest = store.latest()
        for step in itertools.count(1 if latest is None else latest.step + 1):
            store.save(step, {"w": weights["w"] * step}, {"step": step, "moment": torch.full((64,), float(step))})

    chance, steps = random.Random(1), [0]
    begin = time.monotonic()
    assert wait(fork(lambda: CheckpointStore(folder / "timed").save(0, weights, {"step": 0}))) == 0
    longest = 2 * (time.monotonic() - begin)  # a fork, and a step or two
    for _ in range(times(25)):
        assert not run_and_kill(train, chance.uniform(0.005, longest))
        assert store.problems() == []
        latest = store.latest()
        if latest is not None:
            assert latest.step >= steps[-1]
            assert torch.equal(latest.weights()["w"], weights["w"] * latest.step)
            assert latest.state()["step"] == latest.step
            steps.append(latest.step)
    assert len(set(steps)) > 5
    collect_garbage(folder)
    names = {path.name for path in store.folder.iterdir()}
    assert names == {f"step-{step:08d}" for step in store.steps()}


def test_a_run_that_is_killed_at_any_moment_is_absent_or_interrupted_or_done(folder: Path, monkeypatch):
    monkeypatch.setattr("interp_registry.stores.run.collect_environment", lambda argv: {"argv": list(argv)})
    runs = RunStore(folder / "runs")

    def work() -> None:
        while True:
            run = runs.create("x", {"a": 1})
            run.start()
            run.artifact("out/part.txt").write_text("x" * 1000)
            run.finish({"scalars": {"x": 1}})
            run.seal()

    chance = random.Random(2)
    for _ in range(times(15)):
        run_and_kill(work, chance.uniform(0.0, 0.25))
    found = list(runs.runs())
    assert len(found) > 5
    for run in found:
        assert run.state in (RunState.INTERRUPTED, RunState.DONE)
        assert run.problems() == []
        assert run.config == {"a": 1}
        assert run.state is RunState.INTERRUPTED or run.result == {"scalars": {"x": 1}}


def test_readers_see_whole_shards_only_while_a_store_is_written(folder: Path):
    table = SmallTable(40)

    def write_slowly() -> None:
        entry = table.open(folder)
        for index in range(entry.n_shards):
            table.write(entry, index)
            time.sleep(0.002)
        entry.finish()

    pid = fork(write_slowly)
    seen: set[int] = set()
    while not (folder / "features").exists() or not table.open(folder).complete:
        entry = FeatureEntry(table.open(folder).path)
        assert entry.problems() == []
        seen.add(len(entry.present_shards()))
    assert wait(pid) == 0
    assert len(seen) > 3
    assert torch.equal(table.open(folder).read("1"), table.tensors["avg/1"])


def test_no_file_descriptor_is_left_by_reading_and_writing(folder: Path):
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    table = SmallTable(6)
    entry = table.complete(folder / "warm")
    tensors = [entry.read(layer) for layer in ("0", "1")]
    before = descriptors()
    for number in range(20):
        entry = table.complete(folder / str(number))
        tensors += [entry.read(layer) for layer in ("0", "1")]
        assert entry.problems() == []
    tensors += [entry.shard(index).tensor("avg/0") for index in range(6)]
    assert descriptors() == before
