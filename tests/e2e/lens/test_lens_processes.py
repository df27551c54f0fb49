"""Two processes train a lens as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DUMP = (
    "--layers",
    "1,2",
    "--dataset",
    "shapes:split=train,limit=200",
    "--positions",
    "random:2,min:4",
    "--device",
    "cpu",
)
TUNED = ("tuned", "lm-d32", *DUMP, "--method.batch_size", "32", "--steps", "8")
CONSISTENCY = (
    "consistency", "lm-d32", *DUMP, "--method.layer", "1", "--method.batch_size", "16", "--method.tokens", "3", "--method.kl.start", "1",
    "--method.through_words",
    "--method.warm_start.steps", "2", "--method.reference.start", "0.1", "--steps", "6",
)  # fmt: skip
NLA = (
    "nla", "lm-d32", *DUMP, "--method.layer", "1", "--method.sft_steps", "3", "--method.batch_size", "4", "--method.prompts", "2",
    "--method.group", "3", "--method.max_tokens", "5", "--method.eval_rows", "4", "--steps", "6",
)  # fmt: skip


def losses(words, n_processes, home):
    """Loss of every step of one command."""
    command = [sys.executable, "-m", "interp_cli", "lens", "train", *words, "--training.accumulate", "2"]
    command += [
        "--training.log_every",
        "1",
        "--num-processes",
        str(n_processes),
        "--out",
        str(home),
        "--no-report",
        "--json",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert answer.returncode == 0, answer.stderr
    folder = Path(json.loads(answer.stdout.splitlines()[-1])["folder"])
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return {event["step"]: event["value"] for event in events if event.get("name") == "train/loss"}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(TUNED, id="tuned", marks=pytest.mark.slow),
        pytest.param(CONSISTENCY, id="consistency", marks=pytest.mark.nightly),
        pytest.param(NLA, id="nla", marks=pytest.mark.nightly),
    ],
)
def test_two_processes_have_the_losses_of_one(words, tmp_path):
    one, two = losses(words, 1, tmp_path / "one"), losses(words, 2, tmp_path / "two")
    assert len(one) == int(words[-1])
    assert two == pytest.approx(one, rel=1e-4, abs=1e-6)
