"""Commands on Apple's MPS as `emulated_mps` has it: what they find on the CPU they find there, and they compute there."""

from pathlib import Path

import pytest
from every_command import COMMANDS, Command, Kitchen, outcome
from forked_cli import Answer, CommandLine, Server

pytestmark = pytest.mark.slow

LISTED = [
    "align",
    "align layers",
    "bench",
    "cuts",
    "clip losses",
    "clip train",
    "lens dump",
    "lens train tuned",
    "lens eval",
]
REST = ["lens show", "lens train consistency", "lens train nla"]


@pytest.fixture(scope="module")
def kitchen(cli_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    """The same commands on the CPU."""
    return Kitchen(cli_server, tmp_path_factory.mktemp("kitchen"))


def on_mps(cli: CommandLine, command: Command) -> Answer:
    """The command on the emulated device, where it must run kernels."""
    counted = cli.home.parent / "kernels"
    words = ["mps" if word == "cpu" else word for word in command.words(cli.home)]
    answer = cli(*words, EMULATED_MPS=str(counted))
    assert answer.code == 0, answer.text
    assert int(counted.read_text()) > 0
    return answer


@pytest.mark.parametrize("name", [*LISTED, *(pytest.param(name, marks=pytest.mark.nightly) for name in REST)])
def test_a_command_finds_what_it_finds_on_the_cpu(kitchen: Kitchen, cli_server: Server, tmp_path: Path, name: str):
    whole = kitchen.whole(name)
    cli = whole.line(cli_server, tmp_path / "home")
    on_mps(cli, COMMANDS[name])
    found = outcome(cli.home)
    assert found["result"] == whole.outcome["result"]
    assert found["trace"] == whole.outcome["trace"]


def test_losses_of_texts_are_those_of_the_cpu(cli_server: Server, tmp_path: Path):
    command = Command(("extract", "lm-d32", "--dataset", "shapes", "--limit", "16", "--loss"))
    cpu = CommandLine(cli_server, tmp_path / "here")
    here = cpu(*command.words(cpu.home))
    there = on_mps(CommandLine(cli_server, tmp_path / "there"), command)
    (expected,), (found,) = (answer.json["tables"][0]["rows"] for answer in (here, there))
    assert found[:8] == expected[:8]


def test_a_decomposition_trains_as_on_the_cpu_to_rounding(kitchen: Kitchen, cli_server: Server, tmp_path: Path):
    """The CPU has compiled kernels of its own, which sum in another order."""
    whole = kitchen.whole("spd run")
    cli = whole.line(cli_server, tmp_path / "home")
    on_mps(cli, COMMANDS["spd run"])
    assert outcome(cli.home)["trace"] == pytest.approx(whole.outcome["trace"], rel=1e-4)
