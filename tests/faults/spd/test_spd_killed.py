"""A decomposition killed with SIGKILL and resumed equals one that was never interrupted."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TARGET = Path(__file__).parents[2] / "golden" / "spd" / "target_tms_5-2"
SETTINGS = ("--device", "cpu", "--stop-after", "120", "--starts", "{n: 2, steps: 40}", "--log-every", "1",
            "--checkpoint-every", "10")  # fmt: skip


def _start(*arguments, out):
    command = [sys.executable, "-m", "interp_cli", *arguments, "--out", str(out), "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)


def _trace(folder):
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines() if line.endswith("}")]
    scalars = [e for e in events if e["kind"] == "scalar" and "train/" in e["name"]]
    return {(e["step"], e["name"]): e["value"] for e in scalars}  # a step done again overwrites itself


def _kill_after(process, folder, n_checkpoints):
    """Kill at a moment that the number of checkpoints and chance decide."""
    deadline = time.monotonic() + 300
    seen = set()
    while len(seen) < n_checkpoints:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        seen |= {path.relative_to(folder) for path in folder.glob("runs/*/checkpoints/**/step-*")}
        time.sleep(0.01)
    time.sleep(random.SystemRandom().uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.slow
def test_the_loss_trace_after_kills_and_resumes_is_the_uninterrupted_one(tmp_path):
    run = ("spd", "run", "tms_5-2", "--target.path", str(TARGET), "--no-report", *SETTINGS)
    whole = _start(*run, out=tmp_path / "whole")
    result = json.loads(whole.communicate()[0].splitlines()[-1])
    out = tmp_path / "killed"
    killed = _start(*run, out=out)
    _kill_after(killed, out, 1)  # in the first start
    (folder,) = (out / "runs").iterdir()
    assert not (folder / "result.json").exists()
    killed = _start("runs", "resume", folder.name, out=out)
    _kill_after(killed, out, 7)  # about where the better start goes on
    resumed = _start("runs", "resume", folder.name, out=out)
    last = json.loads(resumed.communicate()[0].splitlines()[-1])
    trace = _trace(folder)
    assert len({step for step, name in trace if name == "train/loss"}) == 80
    assert trace == _trace(Path(result["folder"]))
    assert last["metrics"] == result["metrics"]
