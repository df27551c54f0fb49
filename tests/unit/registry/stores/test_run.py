"""Run folders and their states."""

import json
import os
from pathlib import Path

import pytest

from interp_registry.errors import CorruptError, UnknownNameError, UsageError
from interp_registry.stores.records import replace_record
from interp_registry.stores.run import Run, RunState, RunStore


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(runs: RunStore) -> Run:
    return runs.create("lens train", {"lr": 0.1, "layers": [1, 2]}, {"lr": "--lr=0.1", "layers": "default"}, ["interp"])


def test_a_run_goes_from_created_through_running_to_done(run: Run):
    assert run.state is RunState.CREATED
    run.start()
    assert Run(run.path).state is RunState.RUNNING
    run.finish({"scalars": {"loss": 0.5}})
    again = Run(run.path)
    assert again.state is RunState.DONE
    assert again.result == {"scalars": {"loss": 0.5}}


def test_its_configuration_can_be_read_back_and_says_which_values_were_set(run: Run):
    text = (run.path / "config.yaml").read_text()
    assert run.config == {"lr": 0.1, "layers": [1, 2]}
    assert "#   lr: --lr=0.1" in text
    assert "layers: default" not in text


def test_a_hostile_origin_cannot_add_lines_to_the_configuration(runs: RunStore):
    run = runs.create("x", {"a": 1}, {"a": "--a=1\nb: 2"})
    assert run.config == {"a": 1}


@pytest.mark.parametrize("state", [RunState.CREATED, RunState.RUNNING])
def test_a_run_whose_process_was_killed_is_seen_as_interrupted(runs: RunStore, state: RunState, killed_after):
    def begin() -> None:
        run = runs.create("x", {})
        if state is RunState.RUNNING:
            run.start()

    killed_after(begin)
    run = runs.get("last")
    assert run.status["state"] == state
    assert run.state is RunState.INTERRUPTED


def test_a_process_that_got_the_same_number_later_is_not_mistaken_for_the_run(run: Run):
    run.start()
    replace_record(run.path / "state.json", {**run.status, "process_start": "1"})
    assert run.state is RunState.INTERRUPTED


def test_a_run_on_another_machine_is_believed(run: Run):
    run.start()
    replace_record(run.path / "state.json", {**run.status, "host": "elsewhere", "pid": 4_000_000})
    assert run.state is RunState.RUNNING


def test_failure_and_interruption_keep_what_was_said(run: Run):
    run.fail("disk full")
    assert (run.state, run.status["detail"]) == (RunState.FAILED, "disk full")
    run.interrupt("SIGTERM")
    assert (run.state, run.status["detail"]) == (RunState.INTERRUPTED, "SIGTERM")


def test_ids_sort_by_time_and_do_not_collide(runs: RunStore):
    made = [runs.create("x", {}).id for _ in range(8)]
    assert len(set(made)) == 8
    assert [identity.split("-")[0] for identity in made] == sorted(identity.split("-")[0] for identity in made)
    assert sorted(run.id for run in runs.runs()) == sorted(made)


def test_runs_are_found_by_beginning_ending_last_and_folder(runs: RunStore):
    first, second = runs.create("x", {}), runs.create("y", {})
    assert runs.get(first.id).id == first.id
    assert runs.get(second.id[-6:]).id == second.id
    assert runs.get(str(first.path)).id == first.id
    assert runs.get("last").id == max(first.id, second.id)
    with pytest.raises(UsageError, match="could be"):
        runs.get("2")
    with pytest.raises(UnknownNameError):
        runs.get("nothing")


def test_the_last_run_is_none_that_another_one_started_while_that_is_there(runs: RunStore):
    runs.create("x", {})
    parent = runs.create("spd run", {})
    child = runs.create("spd train", {}, details={"parent": parent.id})
    runs.create("spd train", {}, details={"parent": child.id})
    assert runs.get("last").id == parent.id
    runs.remove(parent, force=True)
    assert runs.get("last").id == child.id
    (child.path / "record.json").write_text("torn")
    with pytest.raises(CorruptError):
        runs.get("last")


def test_the_latest_run_of_this_process_is_found_among_those_of_others(runs: RunStore):
    assert runs.latest_here() is None
    own = max(runs.create("x", {}).id for _ in range(2))
    other, corrupt = runs.create("x", {}), runs.create("x", {})
    replace_record(other.path / "state.json", {**other.status, "pid": 1})
    (corrupt.path / "record.json").write_text("torn")
    assert runs.latest_here().id == own


def test_the_last_run_of_an_empty_store_is_unknown(runs: RunStore):
    with pytest.raises(UnknownNameError, match="no run is registered"):
        runs.get("last")


def test_a_run_appears_as_a_whole_or_not_at_all(runs: RunStore, run: Run, monkeypatch):
    seen = []

    def synced(folder: Path) -> None:
        seen.extend([[one.id for one in runs.runs()], runs.get("last").id, runs.latest_here().id, *runs.root.iterdir()])
        raise KeyboardInterrupt

    monkeypatch.setattr("interp_registry.stores.artifact._sync_all", synced)
    with pytest.raises(KeyboardInterrupt):
        runs.create("x", {})
    assert seen[:3] == [[run.id], run.id, run.id]
    assert len(seen) == 5, "the folder that is being written"
    assert list(runs.root.iterdir()) == [run.path]


def test_a_running_run_is_not_removed_unless_forced(runs: RunStore, run: Run):
    run.start()
    with pytest.raises(UsageError, match="is running"):
        runs.remove(run)
    runs.remove(run, force=True)
    assert not run.path.exists()
    assert list(runs.runs()) == []


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "a/../../b", "a//b", "./a", "a\0b", "x" * 300, "a/"])
def test_artifacts_stay_in_the_folder_of_the_run(run: Run, name: str):
    with pytest.raises(UsageError, match="name of an artifact"):
        run.artifact(name)


def test_an_artifact_may_lie_in_a_folder(run: Run):
    run.artifact("figures/a b.svg").write_text("x")
    assert (run.path / "figures" / "a b.svg").read_text() == "x"


@pytest.mark.parametrize(
    "name", ["events.jsonl", "result.json", "config.yaml", "environment.json", "record.json", "seal.json", "scores.bin"]
)
def test_any_later_change_of_a_sealed_file_is_found_and_named(run: Run, flip, name: str):
    run.events.write_text('{"kind": "message"}\n')
    run.artifact("scores.bin").write_bytes(b"1234")
    run.finish({"scalars": {}})
    run.seal()
    assert run.problems() == []
    flip(run.path / name, 3)
    assert [line for line in run.problems() if str(run.path / name) in line]
    assert len(run.problems()) == 1


def test_a_lost_file_is_found(run: Run):
    run.artifact("scores.bin").write_bytes(b"1234")
    run.seal()
    (run.path / "scores.bin").unlink()
    assert run.problems() == [f"{run.path / 'scores.bin'} is missing"]


def test_no_secret_is_written_anywhere(runs: RunStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "canary-of-the-hub")
    monkeypatch.setenv("WANDB_API_KEY", "canary-of-the-tracker")
    monkeypatch.setenv("INTERP_HOME", "/x/canary-of-the-hub")
    both = "canary-of-the-hub canary-of-the-tracker hf_abcdefghijklmnopqrst"
    run = runs.create("x", {"a": [{"b": both}]}, {"a": both}, ["interp", f"--token={both}"], {"note": both})
    run.finish({"text": both})
    run.fail(both)
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len(files) == 5
    for path in files:
        assert "canary" not in path.read_text()
        assert "hf_abc" not in path.read_text()
    assert "[hidden]" in json.dumps(run.config)


def test_the_environment_names_versions_and_only_allowed_variables(run: Run, monkeypatch: pytest.MonkeyPatch):
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert set(environment["variables"]) <= {name for name in os.environ if not name.startswith("PATH")}
    assert "PATH" not in environment["variables"]
