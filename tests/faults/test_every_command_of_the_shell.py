"""Every command that does not compute is interrupted at random moments, and those that write are run on a full disk."""

import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from every_command import COMMANDS, Kitchen, check_failure, check_whole, runs_of
from forked_cli import Answer, CommandLine, Server
from small_disk import small_disk
from tiers import times

from interp_cli.app import build_app

pytestmark = pytest.mark.slow

WRITING = {
    "report": ("report", "{run}", "--to", "{disk}/page"),
    "export": ("export", "{key}", "--to", "{disk}/exported"),
    "import platonic-pt": ("import", "platonic-pt", "{outside}"),
    "sweep start": ("sweep", "{outside}/sweep.yaml", "--launcher", "print", "--", "align", "lm-d32", "vit-d32"),
    "launch print": ("launch", "print", "--", "align", "lm-d32", "vit-d32"),
    "config set": ("config", "set", "device", "cpu"),
    "plugins new": ("plugins", "new", "mine", "--kind", "metric", "--in", "{disk}"),
    "runs rerun": ("runs", "rerun", "last"),
}
"""What fails on a full disk."""
SMALL = {
    "launch cancel": ("launch", "cancel", "last"),
    "plugins block": ("plugins", "block", "bench"),
    "plugins unblock": ("plugins", "unblock", "bench"),
    "runs rm": ("runs", "rm", "last"),
    "store gc": ("store", "gc"),
    "store repair": ("store", "repair"),
    "store rm": ("store", "rm", "{key}", "--yes"),
}
"""What removes, or writes a line."""
READING = {
    "catalog check": ("catalog", "check", "lm-d32"),
    "catalog list": ("catalog", "list"),
    "catalog show": ("catalog", "show", "modelsets", "val"),
    "cite": ("cite", "align"),
    "config path": ("config", "path"),
    "config show": ("config", "show"),
    "doctor": ("doctor",),
    "launch list": ("launch", "list"),
    "launch logs": ("launch", "logs", "last"),
    "launch status": ("launch", "status", "last"),
    "plugins list": ("plugins", "list"),
    "plugins show": ("plugins", "show", "align"),
    "runs list": ("runs", "list"),
    "runs show": ("runs", "show", "last"),
    "store du": ("store", "du"),
    "store ls": ("store", "ls"),
    "store verify": ("store", "verify"),
    "sweep results": ("sweep", "results", "last"),
    "watch": ("watch", "{run}"),
}
ELSEWHERE = {
    "align pairs": "is `interp align`",
    "launch agent": "launch/test_sweep_under_kills.py kills them",
    "launch local": "unit/cli/launch/test_submit_and_run.py sends signals to its owner and tasks",
    "launch retry": "unit/cli/launch/test_submit_and_run.py",
    "launch slurm": "launch/test_on_slurm.py, with a real one",
    "launch ssh": "unit/plugins/launchers/test_ssh_and_gpus.py",
    "runs resume": "test_every_command.py goes on with runs in this way",
    "sweep resume": "launch/test_sweep_under_kills.py",
    "ui": "e2e/trackers/test_ui.py ends its server",
}
"""What is the same, and what starts other processes."""
AGAIN = ("unknown", "is there already", "nothing yet")
"""What a command may say that finds its work done, or nothing to do."""


def leaves(group: Any, name: str = "") -> set[str]:
    """The names of all commands below a group."""
    if not hasattr(group, "list_commands"):
        return {name}
    below = [(word, group.get_command(None, word)) for word in group.list_commands(None)]
    return {leaf for word, command in below for leaf in leaves(command, f"{name} {word}".strip())}


def test_no_command_is_left_out():
    tables = [COMMANDS, WRITING, SMALL, READING, ELSEWHERE]
    covered = [f"{name} " for table in tables for name in table]
    left_out = [leaf for leaf in leaves(build_app()) if not any(name.startswith(f"{leaf} ") for name in covered)]
    assert left_out == []


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What commands read that is not in the home."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "sweep.yaml").write_text("global: {topk: {values: [5, 8]}}")
    return made


def prepared(kitchen: Kitchen, server: Server, home: Path, outside: Path) -> CommandLine:
    """A home in which an alignment has run; its features are also outside, as others write them."""
    shutil.copytree(kitchen.whole("align").home, home)
    cli = CommandLine(server, home)
    assert cli("export", key_in(home), "--format", "platonic-pt", "--to", outside).code == 0
    return cli


def key_in(home: Path) -> str:
    """The key of the features of a language model."""
    return next((home / "store" / "features").glob("lm-d32-*")).name


def filled_in(line: Sequence[str], home: Path, outside: Path) -> list[str]:
    """The words of a command line; ``{disk}`` is a folder beside the home."""
    return [
        word.format(disk=home.parent, outside=outside, key=key_in(home), run=runs_of(home)[0].name) for word in line
    ]


@pytest.mark.parametrize("name", WRITING)
def test_a_command_on_a_full_disk_is_one_clear_error(
    kitchen: Kitchen, cli_server: Server, tmp_path: Path, outside: Path, name: str
):
    with small_disk(tmp_path / "disk", 64) as disk:
        cli = prepared(kitchen, cli_server, disk.path / "home", outside)
        words = filled_in(WRITING[name], cli.home, outside)
        settings = {"INTERP_CONFIG": str(disk.path / "settings" / "config.yaml")}
        disk.fill()
        check_failure(cli, cli(*words, **settings), "No space left on device")
        disk.clear()
        for line in (words, ("runs", "list"), ("launch", "list")):
            answer = cli(*line, **settings)
            assert answer.code == 0, answer.text


@pytest.fixture(scope="module")
def launched(
    kitchen: Kitchen, cli_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CommandLine, Path]:
    """A home in which there are an alignment, a launch and a sweep, and what is outside of it."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "sweep.yaml").write_text("global: {topk: {values: [5, 8]}}")
    cli = prepared(kitchen, cli_server, tmp_path_factory.mktemp("launched") / "home", outside)
    for name in ("launch print", "sweep start"):
        answer = cli(*filled_in(WRITING[name], cli.home, outside))
        assert answer.code == 0, answer.text
    return cli, outside


def settled(answer: Answer) -> bool:
    """Whether a command did its work, or found it done or nothing to do."""
    return answer.code == 0 or (answer.code == 2 and any(word in answer.err for word in AGAIN))


EVERY = [*WRITING, *SMALL, *(pytest.param(name, marks=pytest.mark.nightly) for name in READING)]


@pytest.mark.parametrize("number", range(times(1)))
@pytest.mark.parametrize("name", EVERY)
def test_a_command_that_is_interrupted_says_so_and_is_done_when_it_is_said_again(
    launched: tuple[CommandLine, Path], folder: Path, name: str, number: int
):
    before, outside = launched
    seconds = 0.5
    for signum in (signal.SIGINT, signal.SIGTERM):
        inside = folder / signum.name
        cli = CommandLine(before.server, inside / "home")
        shutil.copytree(before.home, cli.home)
        words = filled_in((WRITING | SMALL | READING)[name], cli.home, outside)
        settings = {"INTERP_CONFIG": str(inside / "config.yaml")}
        moment = random.SystemRandom().uniform(0, seconds)
        print(f"{signum.name} after {moment:.3f} s")  # noqa: T201 - shown when the test fails
        running = cli.start(*words, **settings)
        time.sleep(moment)
        running.send(signum)
        answer = running.wait(60)
        assert answer.code in (-signum, 128 + signum) or settled(answer), answer.text
        if answer.code == 128 + signum:
            assert answer.err.startswith("error interrupted\n")
            assert "Traceback" not in answer.err
        begin = time.monotonic()
        answer = cli(*words, **settings)
        seconds = time.monotonic() - begin
        assert settled(answer), answer.text
        check_whole(cli)
        assert list(folder.rglob("*.tmp")) == []
