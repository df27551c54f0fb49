"""A training that was killed any number of times equals one that was not, to the last bit."""

import os
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from child_processes import fork, run_and_kill, wait
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_training import Toy

from interp_registry.errors import InterruptedRunError
from interp_registry.stores.artifact import collect_garbage
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.training.config import TrainingConfig
from interp_registry.training.loop import Tools, train
from interp_registry.training.schedules import ScheduleConfig

STEPS = 24
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - the speed of a disk is not what is tested


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """The first update of a process imports half of torch; children inherit that."""
    train(Toy(), TrainingConfig(steps=1, checkpoint_every=None), 0)


class Traced(Toy):
    """Writes its losses to a file as they come, so that a killed process leaves them."""

    def __init__(self, seed: int, trace: Path) -> None:
        super().__init__(seed)
        self.file = trace

    def step(self, i: int):
        losses = super().step(i)
        with self.file.open("a") as file:
            file.write(f"{i} {self.trace[-1].hex()}\n")
        return losses


def config(every: int) -> TrainingConfig:
    schedule = ScheduleConfig("cosine", warmup="10%", end=0.1)
    return TrainingConfig(
        steps=STEPS, schedule=schedule, clip_norm=1.0, checkpoint_every=every, evaluate_every=5, monitor="error"
    )


def train_in(folder: Path, every: int, seed: int) -> None:
    torch.set_num_threads(1)
    store = CheckpointStore(folder / "checkpoints", keep_last=1)
    train(Traced(seed, folder / "trace"), config(every), seed, Tools(checkpoints=store))


def last_bytes(folder: Path) -> dict[str, bytes]:
    path = folder / "checkpoints" / f"step-{STEPS:08d}"
    return {file.name: file.read_bytes() for file in path.iterdir()}


def losses(folder: Path) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for line in (folder / "trace").read_text().splitlines():
        number, value = line.split()
        found.setdefault(int(number), set()).add(value)
    return found


def check_kills(kills: list[float], every: int, seed: int) -> int:
    """Kill a training after each of some shares of its own time, let it end, and compare; how many kills hit it."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        whole, broken = Path(made, "whole"), Path(made, "broken")
        for folder in (whole, broken):
            folder.mkdir()
        start = time.monotonic()
        assert wait(fork(partial(train_in, whole, every, seed))) == 0
        duration = time.monotonic() - start
        hits = sum(not run_and_kill(partial(train_in, broken, every, seed), share * duration) for share in kills)
        assert wait(fork(partial(train_in, broken, every, seed))) == 0
        collect_garbage(broken)
        assert last_bytes(broken) == last_bytes(whole)
        found = losses(broken)
        assert found == losses(whole)
        assert set(found) == set(range(STEPS))
        assert all(len(values) == 1 for values in found.values())
        return hits


def test_five_kills_at_different_moments():
    assert check_kills([0.3, 0.4, 0.2, 0.3, 0.5], every=3, seed=1) >= 2


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0.05, 0.9), min_size=1, max_size=6),
    st.integers(1, STEPS),
    st.integers(0, 1000),
)
def test_any_kills_any_interval_of_checkpoints_any_seed(kills: list[float], every: int, seed: int):
    check_kills(kills, every, seed)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, STEPS - 1), min_size=1, max_size=5), st.integers(1, STEPS), st.integers(0, 1000))
def test_any_stops_give_the_losses_and_weights_of_an_uninterrupted_training(stops, every, seed):
    whole = Toy(seed)
    expected = train(whole, config(every), seed)
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        store, trace = CheckpointStore(Path(made)), []
        for stop in [*sorted(stops), STEPS]:
            part = Toy(seed)
            before = len(trace)
            tools = Tools(checkpoints=store, stop=lambda p=part, b=before, s=stop: b + len(p.trace) >= s)
            try:
                found = train(part, config(every), seed, tools)
            except InterruptedRunError:
                found = None
            trace += part.trace
        assert found == expected
        assert trace == whole.trace
        for name, value in part.state()["weights"].items():
            assert torch.equal(value, whole.state()["weights"][name])
