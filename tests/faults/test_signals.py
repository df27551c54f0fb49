"""SIGINT and SIGTERM at any moment of long commands as processes of their own, imports included (nightly).

``test_every_command.py`` does the same in CI with every command, in forks of a process that has imported everything.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiers import times

from interp_cli.__main__ import run as interp

GOLDEN = Path(__file__).parents[1] / "golden"
COMMANDS = {
    "extract": ("extract", "lm-d32", "vit-d32", "--dataset", "shapes", "--limit", "1024", "--shard-rows", "16"),
    "align": ("align", "lm-d32", "vit-d32", "--dataset", "shapes", "--permutations", "100000"),
    "demo": ("demo",),
    "zoo build": ("zoo", "build", "--only", "lm-d32"),
    "bench": ("bench", "clip-bow", "clip-comp"),
    "cuts": ("cuts", "clip-bow", "--limit", "400"),
    "clip": ("clip", "train", "--steps", "5000"),
    "spd": (
        "spd",
        "run",
        "tms_5-2",
        "--target.path",
        str(GOLDEN / "spd" / "target_tms_5-2"),
        "--checkpoint-every",
        "50",
    ),
    "lens dump": ("lens", "dump", "lm-d128"),
    "lens train tuned": ("lens", "train", "tuned", "lm-d32", "--limit", "600", "--steps", "20000"),
    "lens train consistency": (
        "lens",
        "train",
        "consistency",
        "lm-d32",
        "--layers",
        "1",
        "--limit",
        "600",
        "--steps",
        "20000",
    ),
    "lens eval": ("lens", "eval", "logit", "mean", "--model", "lm-d32", "--limit", "600"),
}


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [
        sys.executable,
        "-m",
        "interp_cli",
        *words,
        "--out",
        str(folder),
        "--device",
        "cpu",
        "--no-report",
        "--json",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def wait_for_run(folder: Path, process: subprocess.Popen[str]) -> Path:
    """The folder of the command's own run, once it is at work."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        begun = sorted((folder / "runs").glob("*/events.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        if begun:
            return begun[0].parent
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    raise AssertionError("the command did not begin within three minutes")


def wait_for_progress(run: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a command has computed something."""
    deadline = time.monotonic() + 180
    while '"kind":"progress"' not in (run / "events.jsonl").read_text():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(times(1)))
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_ends_the_command_cleanly(
    tmp_path: Path, name: str, signum: signal.Signals, number: int, capsys: pytest.CaptureFixture[str]
):
    chance = random.Random(f"{name} {signum} {number}")
    process = start(tmp_path, *COMMANDS[name])
    run = wait_for_run(tmp_path, process)
    if name.startswith("lens") and signum == signal.SIGTERM:  # the other signal mostly meets imports
        wait_for_progress(run, process)
    time.sleep(chance.uniform(0.0, 2.0))
    assert process.poll() is None, f"the command was over before the signal: {process.communicate()}"
    process.send_signal(signum)
    begin = time.monotonic()
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signum, err
    assert time.monotonic() - begin < 30
    assert "Traceback" not in err
    assert re.search(r"interp runs resume \S+", err)
    assert interp(["runs", "list", "--out", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {entry["run"]: entry["state"] for entry in listed["runs"]}[run.name] == "interrupted"
    assert interp(["store", "verify", "--out", str(tmp_path)]) == 0
    assert not list(tmp_path.rglob("*.tmp*"))
