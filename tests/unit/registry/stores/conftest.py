"""A small feature table, made from nothing but its own plan."""

import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp_registry.stores.features import FeatureEntry, FeaturePlan, FeatureRequest, FeatureStore
from interp_registry.stores.tables import Column


@pytest.fixture
def request_() -> FeatureRequest:
    return FeatureRequest("org/model", "world", "f00d", pools=("avg", "last"), dtype="bfloat16")


@pytest.fixture
def plan() -> FeaturePlan:
    return FeaturePlan(10, 4, {"0": 3, "1.pre_norm": 5, "1": 5}, {"loss": Column("float64")}, {"tokens": 64})


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def entry(store: FeatureStore, request_: FeatureRequest, plan: FeaturePlan) -> FeatureEntry:
    return store.open(request_, plan, {"torch": "1.2.3"})


@pytest.fixture
def content(entry: FeatureEntry) -> dict[str, Tensor]:
    """All rows of every column."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn((entry.n_rows, *column.shape), generator=generator).to(getattr(torch, column.dtype))
        for name, column in entry.columns.items()
    }


@pytest.fixture
def write(content: dict[str, Tensor]) -> Callable[[FeatureEntry, int], bool]:
    """Write one shard of an entry."""

    def write(entry: FeatureEntry, index: int) -> bool:
        rows = entry.rows(index)
        part = {name: tensor[rows.start : rows.stop] for name, tensor in content.items()}
        return entry.write_shard(index, part, [f"sample {row}" for row in rows])

    return write


@pytest.fixture
def finished(entry: FeatureEntry, write: Callable[[FeatureEntry, int], bool]) -> FeatureEntry:
    for index in range(entry.n_shards):
        write(entry, index)
    entry.finish({"n_params": 7})
    return FeatureEntry(entry.path)


@pytest.fixture
def flip() -> Callable[[Path, int], None]:
    """Flip the lowest bit of one byte of a file."""

    def flip(path: Path, position: int) -> None:
        data = bytearray(path.read_bytes())
        data[position] ^= 1
        path.write_bytes(data)

    return flip


@pytest.fixture
def killed_after() -> Callable[[Callable[[], object]], None]:
    """Run a function in a forked process that is then killed with SIGKILL."""

    def run(function: Callable[[], object]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the child runs plain Python and is killed
            pid = os.fork()
        if pid == 0:
            try:
                function()
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])

    return run
