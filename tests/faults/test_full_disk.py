"""A full disk and a file-size limit: one clear line, nothing half-written, and going on when there is space."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from child_processes import fork, wait
from small_disk import SmallDisk, small_disk
from small_tables import SmallTable, content

from interp_cli.__main__ import run as interp
from interp_registry.errors import InterpError, ResourceError
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.stores.run import RunStore


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 4 MiB."""
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def under_a_limit(function: Callable[[], object], n_bytes: int) -> int:
    """Run a function in a child that can write files of at most so many bytes; its exit code."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
        function()

    return wait(fork(limited))


def test_what_fits_is_kept_and_the_rest_is_written_when_there_is_space(disk: SmallDisk, folder: Path):
    table = SmallTable(60, 256, 128)
    whole = content(table.complete(folder).path)
    with pytest.raises(ResourceError, match=r"No space left on device .*run the same command again"):
        table.complete(disk.path)
    entry = table.open(disk.path)
    kept = entry.present_shards()
    assert 5 < len(kept) < 59
    assert entry.problems() == []
    assert not list(disk.path.rglob("*.tmp"))
    disk.grow(64)
    table.complete(disk.path)
    assert content(entry.path) == whole


def test_checkpoints_before_the_disk_was_full_stay_whole(disk: SmallDisk):
    store = CheckpointStore(disk.path, keep_last=99)

    def save_all() -> None:
        for step in range(1, 99):
            store.save(step, {"w": torch.full((50_000,), float(step))}, {"moment": torch.ones(50_000)})

    with pytest.raises(ResourceError, match="No space left"):
        save_all()
    latest = store.latest()
    assert latest is not None
    assert latest.step == len(store.steps()) > 3
    assert store.problems() == []
    assert not list(disk.path.rglob("*.tmp"))


@pytest.mark.parametrize("left", [0, 5_000, 20_000])
def test_a_run_on_a_full_disk_fails_clearly_and_what_was_written_is_whole(disk: SmallDisk, left: int):
    run = RunStore(disk.path / "runs").create("x", {"a": 1})
    disk.fill(left)
    with pytest.raises(ResourceError, match="No space left"):
        run.finish({"text": "y" * 50_000})
    assert run.problems() == []
    assert run.config == {"a": 1}
    disk.clear()
    run.finish({"text": "y" * 50_000})
    run.seal()
    assert run.problems() == []


def test_a_run_cannot_be_made_on_a_full_disk_and_leaves_no_run(disk: SmallDisk):
    disk.fill()
    store = RunStore(disk.path / "runs")
    with pytest.raises(InterpError, match="No space left"):
        store.create("x", {"a": 1})
    assert list(store.runs()) == []


def test_a_file_size_limit_is_reported_like_a_full_disk(folder: Path):
    table = SmallTable(4, 256, 128)
    whole = content(table.complete(folder / "whole").path)

    def write() -> None:
        with pytest.raises(ResourceError, match=r"File too large .*make space"):
            table.complete(folder / "limited")

    assert under_a_limit(write, 100_000) == 0
    entry = table.open(folder / "limited")
    assert entry.present_shards() == []
    assert not list(folder.rglob("*.tmp"))
    table.complete(folder / "limited")
    assert content(entry.path) == whole


def test_the_store_commands_work_on_a_full_disk(disk: SmallDisk, monkeypatch, capsys):
    table = SmallTable(8, 256, 128)
    monkeypatch.setenv("INTERP_HOME", str(disk.path))
    entry = table.complete(disk.path / "store")
    entry.shard_path(3).write_bytes(b"short")
    disk.fill()
    assert interp(["store", "verify"]) == 3
    assert interp(["store", "du"]) == 0
    assert interp(["store", "repair"]) == 0
    assert interp(["store", "gc"]) == 0
    assert "1 corrupt files removed" in capsys.readouterr().out
