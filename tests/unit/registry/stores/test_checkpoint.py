"""Training checkpoints."""

import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from interp_registry.errors import CorruptError, UsageError
from interp_registry.stores.checkpoint import CheckpointStore

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
STATE = {"step": 3, "rates": [0.1, None, True], "moments": {0: {"m": torch.ones(2)}}, "pair": ("x", "x"), "text": "x"}


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def test_weights_and_state_come_back_as_they_were(store: CheckpointStore):
    store.save(3, WEIGHTS, STATE, metric=0.5)
    found = store.latest()
    assert found is not None
    assert (found.step, found.metric) == (3, 0.5)
    weights, state = found.weights(), found.state()
    assert all(torch.equal(weights[name], WEIGHTS[name]) for name in WEIGHTS)
    assert torch.equal(state["moments"][0].pop("m"), torch.ones(2))
    assert state == {**STATE, "moments": {0: {}}}


def test_the_state_loads_with_torch_alone_and_weights_only(store: CheckpointStore):
    path = store.save(1, WEIGHTS, STATE).path / "state.pt"
    assert torch.load(path, weights_only=True)["step"] == 3  # noqa: TID251


def test_equal_states_give_equal_bytes_also_after_a_round_trip(tmp_path: Path):
    names = "x" + str(1), "x" + str(1)
    first = CheckpointStore(tmp_path / "a").save(1, WEIGHTS, {"names": names, "t": [torch.ones(3)], "d": {"x1": 1}})
    second = CheckpointStore(tmp_path / "b").save(1, first.weights(), first.state())
    for name in ("weights.safetensors", "state.pt", "checkpoint.json"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_the_latest_and_the_best_are_kept(tmp_path: Path):
    store = CheckpointStore(tmp_path, keep_last=2, keep_best=1)
    for step, metric in enumerate([5.0, 1.0, 3.0, float("nan"), 2.0]):
        store.save(step, WEIGHTS, {}, metric)
    assert store.steps() == [1, 3, 4]
    best = store.best()
    assert best is not None
    assert best.step == 1


def test_larger_may_be_better_and_the_earliest_of_equals_is_best(tmp_path: Path):
    store = CheckpointStore(tmp_path, keep_last=9, larger_is_better=True)
    for step, metric in enumerate([1.0, 7.0, 7.0, None]):
        store.save(step, WEIGHTS, {}, metric)
    best = store.best()
    assert best is not None
    assert best.step == 1


def test_without_checkpoints_there_is_neither_latest_nor_best(store: CheckpointStore):
    assert store.latest() is None
    assert store.best() is None
    assert store.steps() == []
    with pytest.raises(UsageError, match="no checkpoint of step 4"):
        store.load(4)


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "checkpoint.json"])
@pytest.mark.parametrize("position", [0, 100, -1])
def test_a_flipped_bit_is_named_and_the_checkpoint_before_is_used_after_repair(store, flip, name, position):
    store.save(1, WEIGHTS, STATE)
    path = store.save(2, WEIGHTS, STATE).path / name
    flip(path, position % path.stat().st_size)
    with pytest.raises(CorruptError, match=str(path)):
        store.latest()
    assert len(store.problems()) == 1
    assert str(path) in store.repair()[0]
    latest = store.latest()
    assert latest is not None
    assert latest.step == 1


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "checkpoint.json"])
def test_a_missing_file_is_corruption(store: CheckpointStore, name: str):
    (store.save(1, WEIGHTS, STATE).path / name).unlink()
    with pytest.raises(CorruptError, match=name):
        store.latest()


def test_half_written_ones_are_ignored(store: CheckpointStore, killed_after):
    store.save(1, WEIGHTS, STATE)

    def save() -> None:
        os.rename = lambda *_: os.kill(os.getpid(), 9)
        store.save(2, WEIGHTS, STATE)

    killed_after(save)
    assert len(list(store.folder.iterdir())) == 2
    assert store.steps() == [1]
    assert store.problems() == []


def test_saving_a_step_again_keeps_what_is_there(store: CheckpointStore):
    first = store.save(1, WEIGHTS, {"x": 1})
    again = store.save(1, WEIGHTS, {"x": 2})
    assert first == again
    assert again.state() == {"x": 1}
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]


@pytest.mark.parametrize("value", [np.float64(1.0), object(), {1, 2}, b"x", np.ones(2), lambda: 0])
def test_what_cannot_be_read_back_safely_is_refused_with_its_place(store: CheckpointStore, value):
    with pytest.raises(UsageError, match=r"state\['a'\]\[1\]"):
        store.save(1, WEIGHTS, {"a": [0, value]})
    assert store.steps() == []


def test_mappings_of_other_kinds_become_plain_ones(store: CheckpointStore):
    assert store.save(1, {}, {"a": OrderedDict(b=1)}).state() == {"a": {"b": 1}}


def test_at_least_one_is_kept():
    with pytest.raises(UsageError, match="keep_last is 0"):
        CheckpointStore(Path("x"), keep_last=0)
