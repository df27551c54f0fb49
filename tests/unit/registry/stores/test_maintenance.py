"""Looking after stores."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from interp_registry.errors import UnknownNameError
from interp_registry.stores import maintenance
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.stores.home import layout
from interp_registry.stores.liveness import host_name
from interp_registry.stores.run import RunStore


@pytest.fixture
def replan(store, request_, plan):
    """Plan the same features again, as the same command does."""
    return lambda: store.open(request_, plan, {"torch": "1.2.3"})


def test_a_summary_follows_a_table_from_planned_to_complete_to_corrupt(entry, write):
    assert maintenance.summarize(entry.path).state == "unfinished"
    for index in range(3):
        write(entry, index)
    entry.finish()
    found = maintenance.summarize(entry.path)
    assert (found.kind, found.key, found.state, found.shards, found.rows) == ("features", entry.key, "complete", 3, 10)
    assert found.request["model"] == "org/model"
    assert found.size == sum(path.stat().st_size for path in entry.path.iterdir())
    (entry.path / "manifest.json").write_text("{}")
    assert maintenance.summarize(entry.path).state == "corrupt"


def test_tables_are_found_by_the_beginning_of_their_key(finished, store):
    assert maintenance.find_tables(store.root, []) == [finished.path]
    assert maintenance.find_tables(store.root, ["org-mod"]) == [finished.path]
    with pytest.raises(UnknownNameError, match="did you mean"):
        maintenance.find_tables(store.root, [f"x{finished.key}"])


@pytest.mark.parametrize("name", ["manifest.json", "DONE.json", "shard-00001.safetensors"])
def test_every_corrupt_file_is_named_and_repair_leaves_what_is_whole(finished, write, flip, name, replan):
    before = {path.name: path.read_bytes() for path in finished.path.iterdir()}
    flip(finished.path / name, 20)
    assert [problem.path.name for problem in maintenance.verify(finished.path)] == [name]
    assert [problem.path.name for problem in maintenance.repair(finished.path)] == [name]
    again = replan()
    assert again.missing_shards() == ([1] if name.startswith("shard") else [])
    for index in again.missing_shards():
        write(again, index)
    again.finish({"n_params": 7})
    assert {path.name: path.read_bytes() for path in finished.path.iterdir()} == before


def test_a_table_without_manifest_is_a_problem(finished):
    (finished.path / "manifest.json").unlink()
    assert "missing" in maintenance.verify(finished.path)[0].reason


def test_a_folder_in_which_nothing_was_begun_is_no_table(finished, store):
    (finished.path.parent / "empty").mkdir()
    (finished.path.parent / "empty" / ".manifest.json.host.1.0123abcd.tmp").touch()
    assert maintenance.table_folders(finished.path.parents[1]) == [finished.path]


def test_files_of_dead_processes_are_tidied_and_those_of_living_ones_kept(tmp_path: Path):
    home = layout(tmp_path)
    home.store.mkdir(parents=True)
    host = host_name()
    dead = home.store / f".shard-00000.safetensors.{host}.4194304.00c0ffee.tmp"
    alive = home.store / f".shard-00000.safetensors.{host}.{os.getpid()}.00c0ffee.tmp"
    elsewhere = home.store / ".a.b.json.other-host.17.00c0ffee.tmp"
    old = home.store / ".a.b.json.third-host.17.00c0ffee.tmp"
    folder = home.store / f".step-00000003.{host}.4194304.00c0ffee.tmp"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"x")
    own = home.store / ".mine.tmp"
    for path in (dead, alive, elsewhere, old, own):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    assert set(maintenance.tidy(home, dry_run=True)) == {dead, old, folder}
    assert dead.exists()
    assert set(maintenance.tidy(home)) == {dead, old, folder}
    assert {path.name for path in home.store.iterdir()} == {alive.name, elsewhere.name, own.name}


def test_runs_and_checkpoints_are_verified_and_corrupt_checkpoints_removed(tmp_path: Path, flip):
    runs = RunStore(tmp_path / "runs")
    run = runs.create("x", {})
    run.finish({})
    run.seal()
    checkpoints = CheckpointStore(run.checkpoints)
    for step in (1, 2):
        checkpoints.save(step, {"w": torch.ones(3)}, {})
    assert list(maintenance.verify_runs(runs.root)) == []
    flip(run.checkpoints / "step-00000002" / "state.pt", 9)
    flip(run.path / "result.json", 1)
    reasons = [problem.reason for problem in maintenance.verify_runs(runs.root)]
    assert len(reasons) == 2
    assert "result.json" in reasons[0]
    assert "state.pt" in reasons[1]
    assert len(maintenance.repair_runs(runs.root)) == 1
    assert checkpoints.steps() == [1]


def test_stores_are_verified_without_torch(finished):
    code = (
        "import sys; from pathlib import Path; from interp_registry.stores import maintenance;"
        "print(maintenance.verify(Path(sys.argv[1])), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(finished.path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False False"
