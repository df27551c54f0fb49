"""The training of a lens killed with SIGKILL at random steps and resumed equals one that was never interrupted; so does a dump.

Every command runs in a fork of this process, which has imported what it needs.
"""

import json
import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from child_processes import fork, kill, wait

from interp_cli.__main__ import run as interp
from interp_registry.discovery import discover

pytestmark = pytest.mark.slow

TRAINING = ("--limit", "300", "--training.log-every", "1", "--training.checkpoint-every", "4")
CONSISTENCY = (
    "--layers", "1", "--positions", "random:1,min:6", "--method.batch_size", "16", "--method.tokens", "3", "--method.kl.start", "1",
    "--method.through_words",
    "--method.warm_start.steps", "8", "--method.reference.start", "0.1", "--method.control.excess", "0.5", "--steps", "40",
)  # fmt: skip
NLA = (
    "--layers", "1", "--positions", "random:2,min:4", "--method.sft_steps", "24", "--method.batch_size", "8", "--method.lr", "0.005",
    "--method.label_tokens", "2", "--method.max_tokens", "5", "--method.prompts", "2", "--method.group", "3", "--method.eval_rows",
    "4", "--steps", "40",
)  # fmt: skip
TRAININGS = {
    "tuned": (("--method.batch-size", "256", "--steps", "60"), [(5, 55)]),
    "consistency": (CONSISTENCY, [(2, 7), (10, 36)]),  # in the warm start, and after it
    "nla": (NLA, [(2, 22), (26, 36)]),  # in the warm start, and in GRPO
}
"""Settings, and the steps between which each kill falls."""


@pytest.fixture(scope="module", autouse=True)
def imported():
    """Let every fork begin where the imports end."""
    import transformers  # noqa: F401

    import interp_plugins.methods.lens.train
    import interp_plugins.models.huggingface  # noqa: F401

    discover()


def command(home: Path, *words: str) -> int:
    """Begin a command; the number of its process."""

    def work() -> None:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        torch.set_num_threads(1)
        assert interp([*words, "--out", str(home), "--json"]) == 0

    return fork(work)


def kill_when(pid: int, there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the command ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    kill(pid)
    assert wait(pid) == -9


def run_of(home: Path) -> Path:
    (folder,) = (home / "runs").iterdir()
    return folder


def trace(folder: Path) -> dict[tuple[int, str], float]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if line.endswith("}")]
    scalars = [e for e in events if e["kind"] == "scalar" and e["name"].startswith(("train/", "eval/"))]
    return {(e["step"], e["name"]): e["value"] for e in scalars}  # a step done again overwrites itself


def reached(home: Path, step: int) -> bool:
    return any(f'"step":{step}}}' in file.read_text() for file in home.glob("runs/*/events.jsonl"))


@pytest.mark.parametrize("method", TRAININGS)
def test_the_loss_trace_after_kills_and_resumes_is_the_uninterrupted_one(tmp_path: Path, method: str):
    settings, spans = TRAININGS[method]
    train = ("lens", "train", method, "lm-d32", *settings, *TRAINING, "--no-report", "--device", "cpu")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert wait(command(whole, *train)) == 0
    expected = trace(run_of(whole))
    assert len({step for step, _ in expected}) == int(settings[-1])
    losses = [value for (_, name), value in expected.items() if name == "train/loss"]
    assert len(set(losses)) > len(losses) / 2  # it learns something all the time
    words = train
    for span in spans:
        step = random.SystemRandom().randrange(*span)
        print(f"killed after step {step}")  # noqa: T201 - shown when the test fails
        kill_when(command(killed, *words), partial(reached, killed, step))
        assert not (run_of(killed) / "result.json").exists()
        words = ("runs", "resume", run_of(killed).name)
    assert wait(command(killed, *words)) == 0
    assert trace(run_of(killed)) == expected
    weights = [next(run_of(home).rglob("lens.safetensors")).read_bytes() for home in (whole, killed)]
    assert weights[0] == weights[1]


def test_a_killed_dump_goes_on_to_the_same_bytes(tmp_path: Path):
    dump = ("lens", "dump", "lm-d32", "--limit", "2000", "--shard-mb", "1", "--no-report", "--device", "cpu")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert wait(command(whole, *dump)) == 0
    kill_when(command(killed, *dump), lambda: len(list(killed.glob("store/activations/*/*.safetensors"))) >= 2)
    (folder,) = (killed / "store" / "activations").iterdir()
    assert not (folder / "DONE.json").exists()
    assert wait(command(killed, *dump)) == 0

    def files(home: Path) -> dict[str, bytes]:
        stored = home.glob("store/activations/*/[!.]*")  # a killed process may leave a temporary file
        return {path.name: path.read_bytes() for path in stored if path.name != "manifest.json"}

    assert len(files(whole)) > 4
    assert files(killed) == files(whole)
