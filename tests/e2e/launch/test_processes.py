"""Several processes for one command."""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_two_processes_on_the_cpu_really_are_two(interp: Any) -> None:
    answer = interp("total", "--num-processes", "2", "--device", "cpu", "--json", "--no-report")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert len(lines) == 1
    scalars = json.loads(lines[0])["scalars"]
    assert (scalars["n"], scalars["sum"]) == (2, 3.0)


def test_a_failing_rank_stops_the_others_with_its_own_error_and_exit_code(interp: Any) -> None:
    answer = interp("total", "--num-processes", "2", "--device", "cpu", "--failing", "1", "--no-report")
    assert answer.returncode == 2
    assert "this rank was told to fail" in answer.stderr
    assert "process 1 of 2 ended with exit code 2" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_another_number_than_asked_for_is_refused(interp: Any) -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29617"}
    answer = interp("total", "--num-processes", "2", "--device", "cpu", "--no-report", **alone)
    assert answer.returncode == 1
    assert "--num-processes 2 was asked for, but 1 run" in answer.stderr


def test_of_two_processes_one_writes_the_trained_model(interp: Any) -> None:
    words = ("clip", "train", "clip-bow-init", "--steps", "2", "--batch-size", "8", "--n-validation", "16")
    words += ("--dataset.n", "64", "--test.n", "16")
    answer = interp(*words, "--num-processes", "2", "--device", "cpu", "--json", "--no-report")
    assert answer.returncode == 0, answer.stderr
    model, history = (Path(path) for path in json.loads(answer.stdout)["artifacts"])
    assert list(model.parent.glob(".*.tmp")) == []
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {path.name for path in model.iterdir()}
    assert json.loads(history.read_text())
    assert interp("bench", str(model), "--datasets", "shapes-twins", "--limit", "16", "--device", "cpu").returncode == 0


def test_every_process_goes_on_in_a_run_that_the_stage_starts_within_its_own(interp: Any) -> None:
    words = ("align", "lm-d32", "vit-d32", "--limit", "24", "--permutations", "5", "--topk", "3")
    answer = interp(*words, "--num-processes", "2", "--device", "cpu", "--json", "--no-report")
    assert answer.returncode == 0, answer.stderr
    parent = Path(json.loads(answer.stdout)["folder"])
    runs = [json.loads((path / "record.json").read_text()) for path in parent.parent.iterdir()]
    assert sorted(run["command"] for run in runs) == ["align pairs", "extract"]
    assert not (parent / "checkpoints").exists()
