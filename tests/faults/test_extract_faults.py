"""``interp extract`` on damaged records, and killed between shards, in process."""

import json
import os
import random
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from child_processes import fork, kill, wait
from extract_context import Context
from small_tables import content
from tiers import counts

from interp_cli.__main__ import run as interp
from interp_plugins.methods.extract import run as extract_run
from interp_plugins.methods.extract import shard_writer
from interp_plugins.methods.extract.config import ExtractConfig
from interp_registry.discovery import discover
from interp_registry.stores.features import FeatureEntry


@pytest.fixture
def extraction(tmp_path: Path) -> list[str]:
    """The words of an extraction of 64 texts in 16 shards."""
    path = tmp_path / "captions.jsonl"
    path.write_text("".join(json.dumps({"text": f"a small red circle {'x ' * (i % 7)}"}) + "\n" for i in range(64)))
    return ["extract", "lm-d32", "--dataset", str(path), "--shard-rows", "4", "--progress", "none", "--no-report"]


def entry_of(home: Path) -> Path:
    return next((home / "store" / "features").iterdir())


@pytest.mark.parametrize("name", ["manifest.json", "DONE.json"])
def test_a_damaged_record_is_named_and_repair_computes_nothing_again(extraction, tmp_path: Path, capsys, name: str):
    words = [*extraction, "--out", str(tmp_path / "home")]
    assert interp(words) == 0
    entry = entry_of(tmp_path / "home")
    whole, times = content(entry), {path.name: path.stat().st_mtime_ns for path in entry.glob("shard-*")}
    data = bytearray(whole[name])
    data[40] ^= 1
    (entry / name).write_bytes(data)
    capsys.readouterr()
    assert interp(words) == 3
    assert name in capsys.readouterr().err
    assert interp([*words, "--repair"]) == 0
    assert content(entry) == whole
    assert {path.name: path.stat().st_mtime_ns for path in entry.glob("shard-*")} == times


@pytest.mark.parametrize("kills", counts(8, 40))
def test_a_kill_loses_one_computed_shard_at_most(tmp_path: Path, monkeypatch, kills: int):
    """Every process notes each shard that it has computed; after its death all of them but one must be on the disk."""
    data, computed = tmp_path / "captions.jsonl", tmp_path / "computed.txt"
    data.write_text("".join(json.dumps({"text": f"a small red circle {'x ' * (i % 7)}"}) + "\n" for i in range(160)))
    config = ExtractConfig(models=["lm-d32"], dataset=str(data), shard_rows=4, max_tokens=20)
    original = shard_writer.run_shard

    def noted(*arguments):
        values = original(*arguments)
        descriptor = os.open(computed, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b"x")
        os.close(descriptor)
        return values

    def work(root: Path) -> None:
        torch.set_num_threads(1)
        extract_run.run(config, Context(root))

    def slow(self, index, *arguments):
        time.sleep(0.01 * (index % 3))
        return write_shard(self, index, *arguments)

    write_shard = FeatureEntry.write_shard
    monkeypatch.setattr(shard_writer, "run_shard", noted)
    monkeypatch.setattr(FeatureEntry, "write_shard", slow)
    discover()
    moments, losses, n_stores = random.Random(kills), [], 0
    while len(losses) < kills:
        n_stores += 1
        root = tmp_path / f"store {n_stores}"
        ended = False
        while not ended and len(losses) < kills:
            computed.write_bytes(b"")
            before = len(list(root.glob("features/*/shard-*")))
            pid = fork(partial(work, root))
            deadline = time.monotonic() + 60
            while not computed.stat().st_size and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.15))
            kill(pid)
            ended = wait(pid) == 0
            if not ended:
                losses.append(computed.stat().st_size - (len(list(root.glob("features/*/shard-*"))) - before))
    assert set(losses) <= {0, 1}
    assert 1 in losses
