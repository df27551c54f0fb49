"""Several writers of the same and of different work at once: one winner each, equal bytes, no waiting."""

import random
from functools import partial
from pathlib import Path

import torch
from child_processes import fork, wait_all
from small_tables import SmallTable, content

from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.stores.features import FeatureStore
from interp_registry.stores.run import RunStore


def test_four_writers_of_one_table_and_four_of_others(folder: Path):
    names = ["same"] * 4 + ["other 1", "other 2", "other 3", "other 4"]
    tables = [SmallTable(12, name=name) for name in names]
    jobs = [partial(table.complete, folder / "all", random.Random(i)) for i, table in enumerate(tables)]
    assert wait_all([fork(job) for job in jobs]) == [0] * 8
    assert len(FeatureStore(folder / "all").keys()) == 5
    for table in tables[3:]:
        alone = table.complete(folder / "alone")
        found = table.open(folder / "all")
        assert content(found.path) == content(alone.path)
        assert torch.equal(found.read("0"), table.tensors["avg/0"])
    assert not list(folder.rglob("*.tmp"))


def test_of_writers_with_different_plans_one_wins_and_the_others_are_told(folder: Path):
    def write(shard_rows: int) -> None:
        SmallTable(12, shard_rows).complete(folder)

    codes = wait_all([fork(partial(write, rows)) for rows in (8, 9, 10, 11)])
    assert sorted(codes) == [0, 1, 1, 1]
    entry = next(FeatureStore(folder).entries())
    assert entry.complete
    assert entry.problems() == []


def test_processes_that_start_runs_at_once_get_different_ones(folder: Path):
    store = RunStore(folder / "runs")

    def work(number: int) -> None:
        run = store.create("x", {"number": number})
        run.start()
        run.finish({"number": number})
        run.seal()

    assert wait_all([fork(partial(work, number)) for number in range(6)]) == [0] * 6
    assert sorted(run.config["number"] for run in store.runs()) == list(range(6))
    assert all(run.result == run.config and run.problems() == [] for run in store.runs())


def test_a_checkpoint_that_two_processes_write_is_one_of_the_two(folder: Path):
    def save(value: float) -> None:
        store = CheckpointStore(folder, keep_last=9)
        for step in range(20):
            store.save(step, {"w": torch.full((500,), value)}, {"value": value})

    assert wait_all([fork(partial(save, value)) for value in (1.0, 2.0)]) == [0, 0]
    store = CheckpointStore(folder)
    assert store.problems() == []
    for step in store.steps():
        checkpoint = store.load(step)
        assert checkpoint.weights()["w"].unique().tolist() == [checkpoint.state()["value"]]
