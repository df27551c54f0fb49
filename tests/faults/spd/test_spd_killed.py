"""A decomposition killed with SIGKILL and resumed equals one that was never interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TARGET = Path(__file__).parents[2] / "golden" / "spd" / "target_tms_5-2"
SETTINGS = ("--device", "cpu", "--stop-after", "200", "--log-every", "1", "--checkpoint-every", "20")


def _start(*arguments, out):
    command = [sys.executable, "-m", "interp_cli", *arguments, "--out", str(out), "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)


def _trace(folder):
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines() if line.endswith("}")]
    scalars = [e for e in events if e["kind"] == "scalar" and e["name"].startswith("train/")]
    return {(e["step"], e["name"]): e["value"] for e in scalars}  # a step done again overwrites itself


@pytest.mark.slow
def test_the_loss_trace_after_kill_and_resume_is_the_uninterrupted_one(tmp_path):
    run = ("spd", "run", "tms_5-2", "--target.path", str(TARGET), "--no-report", *SETTINGS)
    whole = _start(*run, out=tmp_path / "whole")
    result = json.loads(whole.communicate()[0].splitlines()[-1])
    killed = _start(*run, out=tmp_path / "killed")
    deadline = time.monotonic() + 300
    while not list((tmp_path / "killed").glob("runs/*/checkpoints/step-*")):
        assert killed.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    (folder,) = (tmp_path / "killed" / "runs").iterdir()
    assert not (folder / "result.json").exists()
    resumed = _start("runs", "resume", folder.name, out=tmp_path / "killed")
    last = json.loads(resumed.communicate()[0].splitlines()[-1])
    assert _trace(folder) == _trace(Path(result["folder"]))
    assert last["metrics"] == result["metrics"]
