"""The training of toy targets killed with SIGKILL leaves no target behind; the same command then trains the same one."""

import os
import random
import time
from pathlib import Path

import pytest
import torch
from child_processes import fork, kill, wait

from interp_cli.__main__ import run as interp
from interp_registry.discovery import discover

STEPS = 2000


def _begin(home: Path) -> int:
    def work() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        torch.set_num_threads(1)
        words = ["--target.n_seeds", "8", "--target.steps", str(STEPS), "--device", "cpu", "--no-report", "--json"]
        assert interp(["spd", "pretrain", "tms_5-2", *words, "--out", str(home)]) == 0

    return fork(work)


def _steps(home: Path) -> int:
    """How many steps the latest run has told of."""
    texts = [file.read_text() for file in sorted(home.glob("runs/*/events.jsonl"))]
    return texts[-1].count('"train/loss"') if texts else 0


def _files(home: Path) -> dict[str, bytes]:
    return {str(file.relative_to(home)): file.read_bytes() for file in home.glob("cache/**/*.safetensors")}


@pytest.mark.slow
def test_a_killed_training_of_targets_goes_on_to_the_same_target(tmp_path: Path):
    discover()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert wait(_begin(whole)) == 0
    told = _steps(whole)
    for _ in range(3):
        at = random.SystemRandom().randrange(1, told - 1)
        print(f"killed after {at} of {told} lines")  # noqa: T201 - shown when the test fails
        child, runs = _begin(killed), len(list(killed.glob("runs/*")))
        deadline = time.monotonic() + 120
        while len(list(killed.glob("runs/*"))) == runs or _steps(killed) < at:
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "the training ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        kill(child)
        assert wait(child) == -9
        assert not _files(killed)
    assert wait(_begin(killed)) == 0
    expected = _files(whole)
    assert expected
    assert _files(killed) == expected
