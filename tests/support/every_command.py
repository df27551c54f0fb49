"""Every command that computes, on tiny inputs, and what it leaves behind."""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canaries import CANARY, ENVIRONMENT
from forked_cli import CommandLine, Server

QUIET = ("--device", "cpu", "--json", "--progress", "none")
_TEXTS = ("--limit", "60", "--layers", "1", "--positions", "random:2,min:6")
_TARGET = str(Path(__file__).parents[1] / "golden" / "spd" / "target_tms_5-2")
_NLA = ("--steps", "4", "--method.sft_steps", "2", "--method.batch_size", "4")
_PAIRS = ("--batch-size", "16", "--n-validation", "32", "--dataset.n", "200", "--test.n", "50")


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
        line: Its words.
        needs: Commands that must have run before in the same home.
        report: Whether it writes its page, which takes a second.
    """

    line: Sequence[str]
    needs: Sequence[str] = ()
    report: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """All words."""
        return (*self.line, *QUIET, *(() if self.report else ("--no-report",)))


COMMANDS = {
    "extract": Command(("extract", "lm-d32", "vit-d32", "--dataset", "shapes", "--limit", "64", "--shard-rows", "8")),
    "align": Command(("align", "lm-d32", "vit-d32", "--limit", "64", "--permutations", "200"), report=True),
    "align layers": Command(("align", "layers", "lm-d32", "--dataset", "shapes", "--limit", "64")),
    "bench": Command(("bench", "clip-bow", "--limit", "32", "--datasets", "world_twins")),
    "cuts": Command(("cuts", "clip-bow", "--limit", "6", "--n-pictures", "2")),
    "clip losses": Command(("clip", "losses", "--limit", "16", "--n-points", "3")),
    "clip train": Command(("clip", "train", "--steps", "8", "--training.checkpoint-every", "2", *_PAIRS)),
    "lens dump": Command(("lens", "dump", "lm-d32", *_TEXTS)),
    "lens train tuned": Command(
        ("lens", "train", "tuned", "lm-d32", *_TEXTS, "--steps", "8", "--method.batch_size", "16",
         "--training.checkpoint-every", "2"),
        ["lens dump"],
    ),
    "lens train consistency": Command(
        ("lens", "train", "consistency", "lm-d32", *_TEXTS, "--steps", "4", "--method.batch_size", "8"), ["lens dump"]
    ),
    "lens train nla": Command(("lens", "train", "nla", "lm-d32", *_TEXTS, *_NLA), ["lens dump"]),
    "lens eval": Command(("lens", "eval", "logit", "--model", "lm-d32", *_TEXTS, "--suite", "swap"), ["lens dump"]),
    "lens show": Command(("lens", "show", "logit", "--model", "lm-d32")),
    "spd pretrain": Command(("spd", "pretrain", "tms_5-2", "--target.n_seeds", "8", "--target.steps", "2000")),
    "spd run": Command(
        ("spd", "run", "tms_5-2", "--target.path", _TARGET, "--stop-after", "60", "--starts", "{n: 2, steps: 20}",
         "--checkpoint-every", "10")
    ),
    "spd harvest": Command(("spd", "harvest", "last"), ["spd run"]),
    "spd cluster": Command(("spd", "cluster", "last"), ["spd run"]),
    "spd attribute": Command(("spd", "attribute", "last"), ["spd run"]),
    "spd edit": Command(("spd", "edit", "last", "--components", "linear1:0"), ["spd run"]),
    "spd show": Command(("spd", "show", "last"), ["spd run"]),
}  # fmt: skip


@dataclass(frozen=True)
class Whole:
    """What a command does that nothing disturbs.

    Attributes:
        command: The command.
        prepared: A home in which all that it needs has run.
        home: The same after the command.
        seconds: How long it takes.
        outcome: What it leaves behind.
        sizes: Bytes of each file that it wrote and that has the same size each time.
        blocks: Bytes that these take on a disk.
    """

    command: Command
    prepared: Path
    home: Path
    seconds: float
    outcome: dict[str, Any]
    sizes: list[int]
    blocks: int

    def line(self, server: Server, home: Path) -> CommandLine:
        """A command line with a home in which all that the command needs has run."""
        shutil.copytree(self.prepared, home)
        return CommandLine(server, home)


class Kitchen:
    """Runs commands undisturbed, each once."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self._wholes: dict[str, Whole] = {}

    def whole(self, name: str) -> Whole:
        """The undisturbed run of a command."""
        if name not in self._wholes:
            self._wholes[name] = self._run(name, COMMANDS[name])
        return self._wholes[name]

    def _run(self, name: str, command: Command) -> Whole:
        prepared, home = self.folder / f"before {name}", self.folder / f"after {name}"
        if command.needs:
            for needed in command.needs:
                self.whole(needed)
                shutil.copytree(self.folder / f"after {needed}", prepared, dirs_exist_ok=True)
        prepared.mkdir(exist_ok=True)
        shutil.copytree(prepared, home)
        begin = time.monotonic()
        answer = CommandLine(self.server, home)(*command.words, **ENVIRONMENT)
        assert answer.code == 0, answer.text
        assert CANARY not in answer.text
        seconds = time.monotonic() - begin
        before = {path.relative_to(prepared) for path in files_in(prepared)}
        written = [path.stat() for path in _of_one_size(home) if path.relative_to(home) not in before]
        sizes, blocks = [one.st_size for one in written], sum(one.st_blocks * 512 for one in written)
        return Whole(command, prepared, home, seconds, outcome(home), sizes, blocks)


BOOKKEEPING = {"config.yaml", "environment.json", "events.jsonl", "record.json", "seal.json", "state.json"}
"""Files of a run that hold times, folders and names."""


def files_in(home: Path) -> list[Path]:
    """All files of a home but what a killed process was writing."""
    return [path for path in home.rglob("*") if path.is_file() and ".tmp" not in str(path.relative_to(home))]


def _of_one_size(home: Path) -> list[Path]:
    return [path for path in files_in(home) if path.name != "events.jsonl"]  # progress is told by the clock


def runs_of(home: Path) -> list[Path]:
    """The runs of a home that are no part of another one, oldest first."""
    records = sorted(home.glob("runs/*/record.json"))
    return [path.parent for path in records if "parent" not in json.loads(path.read_text())["details"]]


def outcome(home: Path) -> dict[str, Any]:
    """What the last run of a home found, its loss traces, and the digest of every file of the home that has no times in it.

    Of pages, which state when they were made, only that they are there.
    """
    run = runs_of(home)[-1]
    found: dict[str, Any] = {"result": _result(run, home), "trace": trace(run)}
    for path in files_in(home):
        name = str(path.relative_to(home)).replace(run.name, "RUN")
        if path.name not in BOOKKEEPING | {"result.json"} and not name.startswith(("runs/20", "runs/RUN/checkpoints")):
            content = (
                b""
                if path.suffix == ".html"
                else path.read_bytes().replace(str(home).encode(), b"HOME").replace(run.name.encode(), b"RUN")
            )
            found[name] = hashlib.sha256(content).hexdigest()
    return found


def _result(run: Path, home: Path) -> dict[str, Any]:
    text = (run / "result.json").read_text().replace(str(home), "HOME").replace(run.name, "RUN")
    result = json.loads(text)
    del result["sha256"]
    for key in ("cpu_seconds", "extracted", "present"):  # the last two: how much an earlier run had kept
        result["scalars"].pop(key, None)
        result.pop(key, None)
    for table in result["tables"]:
        lasting = [i for i, column in enumerate(table["columns"]) if column not in ("state", "seconds")]
        table["rows"] = [[row[i] for i in lasting] for row in table["rows"]]
    return result


def trace(run: Path) -> dict[str, float]:
    """The losses of a training; a step that was done again overwrites itself."""
    lines = (run / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if line.endswith("}")]
    told = [e for e in events if e["kind"] == "scalar" and e["name"].partition("/")[0] in ("train", "eval")]
    return {f"{event['step']} {event['name']}": event["value"] for event in told}
