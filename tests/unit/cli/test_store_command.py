"""``interp store``, in process."""

import json
from pathlib import Path

import pytest
import torch

from interp_cli.__main__ import run
from interp_registry.stores.features import FeatureEntry, FeaturePlan, FeatureRequest, FeatureStore
from interp_registry.stores.home import layout
from interp_registry.stores.liveness import host_name


def write(entry: FeatureEntry) -> None:
    for index in entry.missing_shards():
        rows = entry.rows(index)
        values = torch.arange(rows.start, rows.stop, dtype=torch.float32)[:, None].expand(-1, 3).contiguous()
        entry.write_shard(index, {"avg/0": values}, [str(row) for row in rows])
    entry.finish()


@pytest.fixture
def entry() -> FeatureEntry:
    """Finished features in the home of the test."""
    store = FeatureStore(layout().store)
    entry = store.open(FeatureRequest("a/model", "world", "f00d"), FeaturePlan(10, 4, {"0": 3}))
    write(entry)
    return entry


@pytest.fixture
def damaged(entry: FeatureEntry) -> Path:
    path = entry.shard_path(1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path


def as_json(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_stored_features_are_listed(entry, capsys):
    assert run(["store", "ls"]) == 0
    shown = capsys.readouterr().out
    assert entry.key in shown
    assert "state" not in shown
    (entry.path / "DONE.json").unlink()
    assert run(["store", "ls"]) == 0
    assert "unfinished" in capsys.readouterr().out
    assert run(["store", "ls", "--json"]) == 0
    table = as_json(capsys)["tables"][0]
    assert (table["key"], table["rows"], table["shards"]) == (entry.key, 10, 3)


def test_sizes_add_up(entry, capsys):
    assert run(["store", "du", "--json"]) == 0
    found = as_json(capsys)
    assert found["bytes"]["store/features"] == sum(path.stat().st_size for path in entry.path.iterdir())
    assert found["free"] > 0
    assert run(["store", "du"]) == 0


def test_a_whole_store_is_verified(entry, capsys):
    assert run(["store", "verify"]) == 0
    assert "1 tables, all as they were written" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--fast"], ["a-model"]])
def test_a_flipped_bit_is_named_with_exit_code_3(damaged, capsys, options):
    assert run(["store", "verify", *options]) == 3
    assert str(damaged) in capsys.readouterr().err.replace("\n", "")


def test_a_flipped_bit_is_reported_as_json_with_exit_code_3(damaged, capsys):
    assert run(["store", "verify", "--json"]) == 3
    assert [problem["path"] for problem in as_json(capsys)["problems"]] == [str(damaged)]


def test_repair_removes_the_shard_and_the_others_stay(damaged, entry, capsys):
    assert run(["store", "repair"]) == 0
    assert "1 corrupt files removed" in capsys.readouterr().out
    again = FeatureEntry(entry.path)
    assert again.missing_shards() == [1]
    write(again)
    assert run(["store", "verify"]) == 0
    assert run(["store", "repair", "--json"]) == 0
    assert as_json(capsys)["removed"] == []


def test_a_lost_done_file_is_rebuilt(entry, capsys):
    (entry.path / "DONE.json").unlink()
    assert run(["store", "verify", "--rebuild"]) == 0
    assert FeatureEntry(entry.path).complete


def test_an_unknown_key_is_wrong_usage(entry, capsys):
    assert run(["store", "verify", "b-model"]) == 2
    assert "unknown key 'b-model'" in capsys.readouterr().err


def test_garbage_is_listed_and_removed(entry, capsys):
    garbage = entry.path / f".DONE.json.{host_name()}.4194304.00c0ffee.tmp"
    garbage.touch()
    assert run(["store", "gc", "--dry-run"]) == 0
    assert garbage.exists()
    assert run(["store", "gc", "--json"]) == 0
    assert as_json(capsys)["removed"] == [str(garbage)]
    assert not garbage.exists()


def test_removal_asks_unless_told_not_to(entry, capsys, monkeypatch):
    monkeypatch.setattr("typer.confirm", lambda *_: False)
    assert run(["store", "rm", "a-model"]) == 2
    assert entry.path.exists()
    assert run(["store", "rm", "a-model", "--yes"]) == 0
    assert not entry.path.exists()
