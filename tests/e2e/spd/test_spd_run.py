"""`interp spd run` and `interp spd show` from the command line, offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TARGET = Path(__file__).parents[2] / "golden" / "spd" / "target_tms_5-2"


def interp(*arguments, out):
    command = [
        sys.executable,
        "-m",
        "interp_cli",
        *arguments,
        "--out",
        str(out),
        "--json",
        "--no-report",
        "--device",
        "cpu",
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_run_can_be_looked_into(tmp_path):
    run = interp("spd", "run", "tms_5-2", "--target.path", str(TARGET), "--stop-after", "30", out=tmp_path)
    assert {"mmcs_mean", "ml2r_mean", "identity_ci_error", "ci_l0", "faithfulness", "loss"} <= set(run["metrics"])
    shown = interp("spd", "show", run["run"], "--n-batches", "1", out=tmp_path)
    page = Path(shown["artifacts"][0]).read_text()
    assert "Components of tms_5-2" in page
    assert "linear1:" in page


@pytest.mark.slow
def test_seeds_side_by_side_give_what_each_gives_alone(tmp_path):
    settings = ("spd", "run", "tms_5-2", "--target.path", str(TARGET), "--stop-after", "20")
    both = interp(*settings, "--seeds", "0,3", out=tmp_path)
    assert [Path(folder).name for folder in both["artifacts"]] == ["decomposition-seed-0", "decomposition-seed-3"]
    alone = interp(*settings, "--seed", "3", "--starts.n", "1", out=tmp_path)
    for name in ("mmcs_mean", "ci_l0"):
        assert both["seeds"]["3"][name] == pytest.approx(alone["metrics"][name], rel=1e-2)
    assert both["seeds"]["3"]["ci_l0"] != both["seeds"]["0"]["ci_l0"]
    shown = interp("spd", "show", both["artifacts"][1], "--n-batches", "1", out=tmp_path)
    assert Path(shown["artifacts"][0]).is_file()


@pytest.mark.slow
def test_points_of_a_sweep_in_one_process_give_what_each_gives_alone(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("""
global:
  seed: {values: [0, 3]}
tms_5-2:
  losses: {importance_minimality: {p: {values: [1.0, 2.0]}}}
""")
    settings = ("spd", "run", "tms_5-2", "--target.path", str(TARGET), "--stop-after", "20", "--log-every", "10",
                "--starts", "{n: 2, steps: 10}")  # fmt: skip
    swept = interp(*settings, "--sweep", str(file), "--batched", out=tmp_path)
    assert swept["counts"] == {"done": 1}
    assert [point["params"]["seed"] for point in swept["points"]] == [0, 0, 3, 3]
    alone = interp(*settings, "--seed", "3", "--losses.importance_minimality.p=2", out=tmp_path)
    point = Path(swept["points"][3]["run"])
    together = json.loads((point / "result.json").read_text())
    assert together["metrics"].keys() == alone["metrics"].keys()
    assert together["metrics"] == pytest.approx(alone["metrics"], rel=1e-2, abs=1e-4)
    assert together["starts"]["taken"] == alone["starts"]["taken"]
    assert together["metrics"]["ci_l0"] != swept["points"][2]["scalars"]["ci_l0"]
    trace, expected = _trace({"folder": point}), _trace(alone)
    own = {key: value for key, value in expected.items() if key[1].startswith("train/")}
    assert {key: value for key, value in trace.items() if key[1].startswith("train/")} == pytest.approx(own, rel=1e-3)
    assert len(list(point.rglob("components.safetensors"))) == 1


def _trace(run):
    events = [json.loads(line) for line in (Path(run["folder"]) / "events.jsonl").read_text().splitlines()]
    scalars = [e for e in events if e["kind"] == "scalar" and "train/" in e["name"]]
    trace = {(e["step"], e["name"]): e["value"] for e in scalars}
    assert len(trace) == len(scalars), "a number was reported twice"
    return trace


@pytest.mark.slow
def test_two_processes_give_the_loss_trace_of_one(tmp_path):
    settings = ("spd", "run", "tms_5-2", "--target.path", str(TARGET), "--stop-after", "30", "--log-every", "1",
                "--starts", "{n: 2, steps: 10}")  # fmt: skip
    one = interp(*settings, out=tmp_path / "one")
    two = interp(*settings, "--num-processes", "2", out=tmp_path / "two")
    traces = [_trace(run) for run in (one, two)]
    assert traces[0].keys() == traces[1].keys()
    assert len({step for step, name in traces[0] if name == "train/loss"}) == 20
    assert list(traces[1].values()) == pytest.approx(list(traces[0].values()), rel=1e-3, abs=1e-7)
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-2, abs=1e-6)


def _peak_mebibytes(*command):
    """Peak resident memory of one process."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, env=env) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


@pytest.mark.slow
def test_a_toy_takes_at_most_150_mebibytes_above_a_bare_import_of_torch(tmp_path):
    bare = _peak_mebibytes("-c", "import torch")
    settings = (
        "--target.path",
        str(TARGET),
        "--stop-after",
        "300",
        "--starts",
        "{n: 2, steps: 100}",
        "--device",
        "cpu",
    )
    ours = _peak_mebibytes("-m", "interp_cli", "spd", "run", "tms_5-2", *settings, "--out", str(tmp_path), "--json")
    assert ours - bare <= 150, f"{ours:.0f} MiB, {ours - bare:.0f} above torch"


def _recovered(run):
    """Every feature has a component of its own, in the right direction, in both layers."""
    metrics = run["metrics"]
    assert metrics["mmcs_mean"] >= 0.999
    assert metrics["mmcs_min"] >= 0.99
    assert metrics["identity_ci_error/linear1"] == metrics["identity_ci_error/linear2"] == 0
    assert metrics["live_components/linear1"] == metrics["live_components/linear2"] == 5
    return metrics


@pytest.mark.slow
def test_ten_thousand_of_forty_thousand_steps_recover_every_feature(tmp_path):
    settings = ("--target.path", str(TARGET), "--stop-after", "10000", "--seed", "2", "--starts.n", "1")
    metrics = _recovered(interp("spd", "run", "tms_5-2", *settings, out=tmp_path))
    assert metrics["ml2r_mean"] >= 0.95


@pytest.mark.nightly
@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_whole_schedule_recovers_every_feature_from_nothing(tmp_path, seed):
    metrics = _recovered(interp("spd", "run", "tms_5-2", "--seed", seed, out=tmp_path))
    assert 0.97 <= metrics["ml2r_mean"] <= 1.03
    assert metrics["faithfulness"] < 1e-6


@pytest.mark.nightly
def test_the_whole_schedule_finds_the_identity_in_between_from_nothing(tmp_path):
    metrics = _recovered(interp("spd", "run", "tms_5-2-id", out=tmp_path))
    assert 0.97 <= metrics["ml2r_mean"] <= 1.03
    assert metrics["live_components/hidden_layers.0"] == 2
    assert metrics["identity_ci_error"] == 0


@pytest.mark.nightly
def test_a_residual_mlp_in_full_has_a_component_per_feature_and_per_neuron(tmp_path):
    metrics = interp("spd", "run", "resid_mlp1", out=tmp_path)["metrics"]
    assert metrics["identity_ci_error/layers.0.mlp_in"] <= 5
    assert 48 <= metrics["live_components/layers.0.mlp_out"] <= 52
    assert metrics["neuron_contribution_correlation/layers.0.mlp_in"] >= 0.99
