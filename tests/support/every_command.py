"""Every command that computes, on tiny inputs, and what it leaves behind."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canaries import CANARY, ENVIRONMENT
from forked_cli import Answer, CommandLine, Server

QUIET = ("--device", "cpu", "--json", "--progress", "none")
_TEXTS = ("--limit", "60", "--layers", "1", "--positions", "random:2,min:6")
_TARGET = str(Path(__file__).parents[1] / "golden" / "spd" / "target_tms_5-2")
_NLA = ("--steps", "4", "--method.sft_steps", "2", "--method.batch_size", "4")
_DEMO = ("--positions", "random:4,min:6", "--layer", "1", "--steps", "2", "--tuned-steps", "2", "--rows", "4")
_PAIRS = ("--batch-size", "16", "--n-validation", "32", "--dataset.n", "200", "--test.n", "50")


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
        line: Its words; ``{home}`` stands for the home, ``{run}`` for the oldest run in it, ``{dump}`` for its activations.
        needs: Commands that must have run before in the same home.
        report: Whether it writes its page, which takes a second.
        code: What it ends with.
        long: Whether it takes so long that it is for the night.
        make: Makes what else must be in the home.
    """

    line: Sequence[str]
    needs: Sequence[str] = ()
    report: bool = False
    code: int = 0
    long: bool = False
    make: Callable[[Path], None] | None = None

    def words(self, home: Path) -> tuple[str, ...]:
        """All words, in a home."""
        line = tuple(_filled_in(word, home) for word in self.line)
        return (*line, *QUIET, *(() if self.report else ("--no-report",)))


def _filled_in(word: str, home: Path) -> str:
    found = {
        "{home}": lambda: str(home),
        "{run}": lambda: runs_of(home)[0].name,
        "{dump}": lambda: next((home / "store" / "activations").iterdir()).name,
    }
    for name, value in found.items():
        word = word.replace(name, value()) if name in word else word
    return word


def write_foreign_samples(home: Path) -> None:
    """Activations as Consistency Lens writes them: pairs of texts with a vector of each."""
    import torch

    source = torch.Generator().manual_seed(0)
    vectors, texts = torch.randn(600, 2, 32, generator=source), torch.randint(3, 500, (600, 2, 12), generator=source)
    samples = [
        {
            "A": a, "A_prime": b, "input_ids_A": text, "input_ids_A_prime": other, "token_pos_A": 5, "token_pos_A_prime": 6,
            "layer_idx": 1,
        }
        for (a, b), (text, other) in zip(vectors.half().unbind(), texts.unbind(), strict=True)
    ]  # fmt: skip
    torch.save(samples, home / "samples.pt")


_SPD = Command(
    ("spd", "run", "tms_5-2", "--target.path", _TARGET, "--stop-after", "60", "--starts", "{n: 2, steps: 20}",
     "--checkpoint-every", "10")
)  # fmt: skip
PREPARATIONS = {
    "all layers": Command(
        ("lens", "train", "tuned", "lm-d32", "--limit", "60", "--positions", "random:2,min:6", "--steps", "4",
         "--method.batch_size", "16")
    ),
    "another spd run": Command((*_SPD.line, "--seed", "1")),
}  # fmt: skip
"""What only other commands need."""


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
    "lens export tuned": Command(("lens", "export", "tuned", "last", "--to", "{home}/exported"), ["all layers"]),
    "lens import tuned": Command(
        ("lens", "import", "tuned", "{home}/exported", "--model", "lm-d32"), ["lens export tuned"], long=True
    ),
    "lens export nla": Command(("lens", "export", "nla", "last", "--to", "{home}/exported"), ["lens train nla"]),
    "lens import nla": Command(
        ("lens", "import", "nla", "{home}/exported/av", "--model", "lm-d32", "--format.dump", "{dump}"), ["lens export nla"],
        long=True,
    ),
    "lens import activations": Command(
        ("lens", "import", "consistency-dump", "{home}/samples.pt"), make=write_foreign_samples
    ),
    "lens demo": Command(("lens", "demo", "--model", "lm-d32", "--limit", "600", *_DEMO), long=True),
    "demo": Command(("demo", "--limit", "32", "--captions", "1", "--permutations", "10"), long=True),
    "zoo build": Command(("zoo", "build", "--only", "lm-d32")),
    "zoo verify": Command(("zoo", "verify"), code=3, long=True),
    "spd pretrain": Command(("spd", "pretrain", "tms_5-2", "--target.n_seeds", "8", "--target.steps", "800")),
    "spd run": _SPD,
    "spd harvest": Command(("spd", "harvest", "last"), ["spd run"]),
    "spd cluster": Command(("spd", "cluster", "last"), ["spd run"]),
    "spd attribute": Command(("spd", "attribute", "last"), ["spd run"]),
    "spd edit": Command(("spd", "edit", "last", "--components", "linear1:0"), ["spd run"]),
    "spd compare": Command(("spd", "compare", "{run}", "last"), ["spd run", "another spd run"]),
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
            self._wholes[name] = self._run(name, (COMMANDS | PREPARATIONS)[name])
        return self._wholes[name]

    def _run(self, name: str, command: Command) -> Whole:
        prepared, home = self.folder / f"before {name}", self.folder / f"after {name}"
        if command.needs:
            for needed in command.needs:
                self.whole(needed)
                shutil.copytree(self.folder / f"after {needed}", prepared, dirs_exist_ok=True)
        prepared.mkdir(exist_ok=True)
        if command.make is not None:
            command.make(prepared)
        shutil.copytree(prepared, home)
        begin = time.monotonic()
        answer = CommandLine(self.server, home)(*command.words(home), **ENVIRONMENT)
        assert answer.code == command.code, answer.text
        assert CANARY not in answer.text
        seconds = time.monotonic() - begin
        before = {path.relative_to(prepared) for path in files_in(prepared)}
        written = [path.stat() for path in _of_one_size(home) if path.relative_to(home) not in before]
        sizes, blocks = [one.st_size for one in written], sum(one.st_blocks * 512 for one in written)
        return Whole(command, prepared, home, seconds, outcome(home), sizes, blocks)


def check_whole(cli: CommandLine) -> None:
    """Nothing that is stored is damaged."""
    if (cli.home / "store").exists():
        verified = cli("store", "verify")
        assert verified.code == 0, verified.text


def check_failure(cli: CommandLine, answer: Answer, reason: str) -> None:
    """It failed and says why in one line, and what to do; nothing is half-written."""
    assert answer.code in (1, 3), answer.text
    assert reason in answer.err
    assert "Traceback" not in answer.err
    assert "defect" not in answer.err
    check_whole(cli)
    assert not list(cli.home.rglob("*.tmp*"))


BOOKKEEPING = {"config.yaml", "environment.json", "events.jsonl", "record.json", "seal.json", "state.json"}
"""Files of a run that hold times, folders and names."""
_RUN_ID = re.compile(rb"\d{8}T\d{9}Z-[0-9a-f]{6}")
_CPU_SECONDS = re.compile(rb'"cpu_seconds": \d+')
_SEAL_OF_RECORD = re.compile(rb'\n "sha256": "[0-9a-f]{64}"')


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
            content = b"" if path.suffix == ".html" else _lasting(path.read_bytes(), home)
            found[name] = hashlib.sha256(content).hexdigest()
    return found


def _lasting(content: bytes, home: Path) -> bytes:
    """What does not depend on the home's place, on when a run began, and on how fast the machine was."""
    if str(home).encode() in content or _RUN_ID.search(content):
        content = _SEAL_OF_RECORD.sub(b"", content)
    content = _RUN_ID.sub(b"RUN", content.replace(str(home).encode(), b"HOME"))
    return _CPU_SECONDS.sub(b"", content)


def _result(run: Path, home: Path) -> dict[str, Any]:
    result = json.loads(_RUN_ID.sub(b"RUN", (run / "result.json").read_bytes().replace(str(home).encode(), b"HOME")))
    del result["sha256"]
    for key in ("cpu_seconds", "extracted", "present"):  # the last two: how much an earlier run had kept
        result["scalars"].pop(key, None)
        result.pop(key, None)
    for table in result["tables"]:
        lasting = [i for i, column in enumerate(table["columns"]) if column not in ("state", "seconds", "CPU s")]
        table["rows"] = [[row[i] for i in lasting] for row in table["rows"]]
    return result


def trace(run: Path) -> dict[str, float]:
    """The losses of a training; a step that was done again overwrites itself."""
    lines = (run / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if line.endswith("}")]
    told = [e for e in events if e["kind"] == "scalar" and e["name"].partition("/")[0] in ("train", "eval")]
    return {f"{event['step']} {event['name']}": event["value"] for event in told}
