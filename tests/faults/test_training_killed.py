"""Training of every kind, killed with SIGKILL at random steps and resumed, equals one that was never interrupted; so does a dump.

Every command runs in a fork of this process, which has imported what it needs.
"""

import json
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree

import pytest
import torch
from child_processes import fork, kill, wait
from tiers import times

from interp_cli.__main__ import run as interp
from interp_registry.discovery import discover

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "golden"
EVERY = ("--training.log-every", "1", "--training.checkpoint-every", "4")
LENS = ("--limit", "300", *EVERY)
CONSISTENCY = (
    "--layers", "1", "--positions", "random:1,min:6", "--method.batch_size", "16", "--method.tokens", "3", "--method.kl.start", "1",
    "--method.through_words",
    "--method.warm_start.steps", "8", "--method.reference.start", "0.1", "--method.control.excess", "0.5",
)  # fmt: skip
NLA = (
    "--layers", "1", "--positions", "random:2,min:4", "--method.sft_steps", "24", "--method.batch_size", "8", "--method.lr", "0.005",
    "--method.label_tokens", "2", "--method.max_tokens", "5", "--method.prompts", "2", "--method.group", "3", "--method.eval_rows",
    "4",
)  # fmt: skip
PAIRS = ("--dataset.n", "300", "--test.n", "50", "--n-validation", "32", "--batch-size", "32")
SPD = (
    "--target.path", str(GOLDEN / "spd" / "target_tms_5-2"), "--starts", "{n: 2, steps: 20}", "--log-every", "1", "--checkpoint-every",
    "4",
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """A command that trains for some steps, and the steps between which each kill falls."""

    line: Sequence[str]
    steps: int
    kills: Sequence[tuple[int, int]]
    option: str = "--steps"

    @property
    def words(self) -> tuple[str, ...]:
        """The command line."""
        asked = () if self.option == "" else (self.option, str(self.steps))
        return (*self.line, *asked, "--no-report", "--device", "cpu")


TRAININGS = {
    "lens tuned": Training(("lens", "train", "tuned", "lm-d32", *LENS, "--method.batch-size", "256"), 60, [(5, 55)]),
    # in the warm start, and after it
    "lens consistency": Training(
        ("lens", "train", "consistency", "lm-d32", *LENS, *CONSISTENCY), 40, [(2, 7), (10, 36)]
    ),
    # in the warm start, and in GRPO
    "lens nla": Training(("lens", "train", "nla", "lm-d32", *LENS, *NLA), 40, [(2, 22), (26, 36)]),
    "clip": Training(("clip", "train", "clip-bow-init", *PAIRS, *EVERY), 16, [(3, 12)]),
    "spd": Training(  # in the first start, and in the better one
        ("spd", "run", "tms_5-2", *SPD), 60, [(2, 18), (24, 56)], option="--stop-after"
    ),
    "zoo": Training(("zoo", "build", "--only", "lm-d32"), 24, [(3, 20)], option=""),
}


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Let every fork begin where the imports end."""
    import transformers  # noqa: F401

    import interp_plugins.methods.clip.run
    import interp_plugins.methods.lens.train
    import interp_plugins.methods.spd.run
    import interp_plugins.models.huggingface  # noqa: F401

    discover()


@pytest.fixture
def short_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zoo's training in a few steps with a checkpoint every four."""
    from small_world import shrink_zoo

    shrink_zoo(monkeypatch)


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


def reached(home: Path, step: int) -> bool:
    return any(f'"step":{step}}}' in file.read_text() for file in home.glob("runs/*/events.jsonl"))


def losses(folder: Path) -> dict[tuple[int, str], float]:
    """What the training told, by step and name; a step done again overwrites itself."""
    lines = (folder / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if line.endswith("}")]
    told = [e for e in events if e["kind"] == "scalar" and ("train/" in e["name"] or "eval/" in e["name"])]
    return {(e["step"], e["name"]): e["value"] for e in told}


def weights(folder: Path) -> dict[str, bytes]:
    """The files of weights that a run ends with."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*.safetensors")}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith("checkpoints")}


@pytest.mark.usefixtures("short_recipes")
@pytest.mark.parametrize("name", TRAININGS)
def test_losses_and_weights_after_kills_and_resumes_are_the_uninterrupted_ones(tmp_path: Path, name: str):
    training, chance = TRAININGS[name], random.SystemRandom()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert wait(command(whole, *training.words)) == 0
    expected = losses(run_of(whole))
    assert len({step for step, _ in expected}) >= training.steps
    values = [value for (_, told), value in expected.items() if told.endswith("train/loss")]
    assert len(set(values)) > len(values) / 2  # it learns something all the time
    for _ in range(times(1)):
        words = training.words
        for span in training.kills:
            step = chance.randrange(*span)
            print(f"killed after step {step}")  # noqa: T201 - shown when the test fails
            kill_when(command(killed, *words), partial(reached, killed, step))
            assert not (run_of(killed) / "result.json").exists()
            words = ("runs", "resume", run_of(killed).name)
        assert wait(command(killed, *words)) == 0
        assert losses(run_of(killed)) == expected
        assert weights(run_of(killed)) == weights(run_of(whole)) != {}
        rmtree(killed)


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
