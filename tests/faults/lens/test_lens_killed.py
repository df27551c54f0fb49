"""The training of a lens killed with SIGKILL at a random step and resumed equals one that was never interrupted; so does a dump."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SETTINGS = (
    "--limit",
    "300",
    "--training.log-every",
    "1",
    "--training.checkpoint-every",
    "10",
    "--no-report",
    "--device",
    "cpu",
)
TRAIN = ("lens", "train", "tuned", "lm-d32", "--steps", "120", "--method.batch-size", "256", *SETTINGS)


def _start(*arguments, out):
    command = [sys.executable, "-m", "interp_cli", *arguments, "--out", str(out), "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)


def _finish(process):
    return json.loads(process.communicate()[0].splitlines()[-1])


def _kill_when(process, there):
    deadline = time.monotonic() + 300
    while not there():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def _trace(folder):
    lines = (folder / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if line.endswith("}")]
    scalars = [e for e in events if e["kind"] == "scalar" and e["name"].startswith("train/")]
    return {(e["step"], e["name"]): e["value"] for e in scalars}  # a step done again overwrites itself


@pytest.mark.slow
def test_the_loss_trace_after_kill_and_resume_is_the_uninterrupted_one(tmp_path):
    whole = _finish(_start(*TRAIN, out=tmp_path / "whole"))
    step = random.Random(os.getpid()).randrange(10, 90)
    print(f"killed after step {step}")  # noqa: T201 - shown when the test fails
    killed = _start(*TRAIN, out=tmp_path / "killed")

    def reached():
        files = (tmp_path / "killed").glob("runs/*/events.jsonl")
        return any(f'"step":{step}}}' in file.read_text() for file in files)

    _kill_when(killed, reached)
    (folder,) = (tmp_path / "killed" / "runs").iterdir()
    assert not (folder / "result.json").exists()
    _finish(_start("runs", "resume", folder.name, out=tmp_path / "killed"))
    expected = _trace(Path(whole["folder"]))
    assert len({step for step, _ in expected}) == 120
    assert _trace(folder) == expected
    weights = [next(one.rglob("lens.safetensors")).read_bytes() for one in (folder, Path(whole["folder"]))]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_killed_dump_goes_on_to_the_same_bytes(tmp_path):
    dump = ("lens", "dump", "lm-d32", "--limit", "6000", "--shard-mb", "1", "--no-report", "--device", "cpu")
    _finish(_start(*dump, out=tmp_path / "whole"))
    killed = _start(*dump, out=tmp_path / "killed")
    _kill_when(killed, lambda: len(list((tmp_path / "killed").glob("store/activations/*/*.safetensors"))) >= 3)
    (folder,) = (tmp_path / "killed" / "store" / "activations").iterdir()
    assert not (folder / "DONE.json").exists()
    _finish(_start(*dump, out=tmp_path / "killed"))

    def files(home):
        return {
            path.name: path.read_bytes() for path in home.glob("store/activations/*/*") if path.name != "manifest.json"
        }

    assert len(files(tmp_path / "whole")) > 5
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
