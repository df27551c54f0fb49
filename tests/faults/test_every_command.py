"""Every command that computes is killed, interrupted, and run on a full disk, at random moments; then it ends as if nothing had been.

Those that take long, most of them rows of others, have their turn in the night.
"""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from canaries import files_with_canary
from every_command import COMMANDS, Kitchen, Whole, check_failure, check_whole, outcome, runs_of
from forked_cli import Answer, CommandLine, Server
from small_disk import small_disk
from tiers import times

pytestmark = pytest.mark.slow

EVERY = [pytest.param(name, marks=pytest.mark.nightly if one.long else ()) for name, one in COMMANDS.items()]
LONGEST_END = 30.0
"""Seconds within which a command ends after a signal."""


@pytest.fixture(params=EVERY)
def whole(request: pytest.FixtureRequest, kitchen: Kitchen) -> Whole:
    """The undisturbed run of a command."""
    return kitchen.whole(request.param)


def going_on(cli: CommandLine, whole: Whole, n_before: int) -> tuple[str, ...]:
    """The words that go on with a run, or begin it if it had not come to be."""
    runs = runs_of(cli.home)
    return ("runs", "resume", runs[-1].name, "--json") if len(runs) > n_before else whole.command.words(cli.home)


def check_interrupted(cli: CommandLine, answer: Answer, began: bool) -> None:
    """The command says that it was interrupted, and how to go on with the run that it began."""
    assert answer.err.startswith("error interrupted\n")
    assert "Traceback" not in answer.err
    if began:
        state, run = last_run(cli)
        assert state in ("interrupted", "done")
        assert f"interp {'report' if state == 'done' else 'runs resume'} {run}" in answer.err


def last_run(cli: CommandLine) -> tuple[str, str]:
    """State and id of the last run that is no part of another; empty when there is none."""
    listed = json.loads(cli("runs", "list", "--json").out.splitlines()[-1])["runs"]
    states = {one["run"]: one["state"] for one in listed}
    runs = runs_of(cli.home)
    return (states[runs[-1].name], runs[-1].name) if runs else ("", "")


def disturb(cli: CommandLine, whole: Whole, signum: signal.Signals, moment: float, n_before: int) -> bool:
    """Send a signal at a moment; false when the command had ended before, or had only its report to write."""
    words, n_runs = going_on(cli, whole, n_before), len(runs_of(cli.home))
    of_a_kill = set(cli.home.rglob("*.tmp*"))  # `interp store gc` removes what a killed process was writing
    running = cli.start(*words)
    time.sleep(moment)
    running.send(signum)
    begin = time.monotonic()
    answer = running.wait(120)
    if answer.code == whole.command.code:
        return False
    assert time.monotonic() - begin < LONGEST_END
    assert answer.code in (-signum, 128 + signum), answer.err
    if answer.code == -signum and signum != signal.SIGKILL:  # before its first line, or after its last
        assert not answer.text
    elif signum != signal.SIGKILL:
        check_interrupted(cli, answer, len(runs_of(cli.home)) > n_runs)
        assert set(cli.home.rglob("*.tmp*")) <= of_a_kill
    check_whole(cli)
    return len(runs_of(cli.home)) == n_before or last_run(cli)[0] != "done"


@pytest.mark.parametrize("number", range(times(1)))
def test_a_command_that_is_killed_and_interrupted_ends_as_if_it_had_not_been(
    whole: Whole, cli_server: Server, folder: Path, number: int
):
    cli = whole.line(cli_server, folder / "home")
    n_before, chance, span = len(runs_of(cli.home)), random.SystemRandom(), whole.seconds
    left = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
    chance.shuffle(left)
    while left:
        moment = chance.uniform(0, span)
        print(f"{left[0].name} after {moment:.3f} s of {whole.seconds:.3f}")  # noqa: T201 - shown when the test fails
        if disturb(cli, whole, left[0], moment, n_before):
            left.pop(0)
        else:  # it was too fast: once more
            span *= 0.7
            shutil.rmtree(cli.home)
            cli = whole.line(cli_server, folder / "home")
    answer = cli(*going_on(cli, whole, n_before))
    assert answer.code == whole.command.code, answer.err
    assert outcome(cli.home) == whole.outcome


def check_going_on(cli: CommandLine, whole: Whole, n_before: int, code: int) -> None:
    """With space the same is found as without the fault; a run that lacks only its report gets it by itself."""
    state, run = last_run(cli)
    done = len(runs_of(cli.home)) > n_before and state == "done"
    if done and code == 1:
        assert cli("report", run).code == 0
        found = outcome(cli.home)
        assert {name: found[name] for name in whole.outcome if name in found} == {
            name: value for name, value in whole.outcome.items() if "report" not in name
        }
        return
    answer = cli(*whole.command.words(cli.home) if done else going_on(cli, whole, n_before))
    assert answer.code == whole.command.code, answer.err
    assert outcome(cli.home) == whole.outcome


@pytest.mark.parametrize("number", range(times(1)))
def test_a_full_disk_is_one_clear_error_and_the_command_goes_on_with_space(
    whole: Whole, cli_server: Server, tmp_path: Path, number: int
):
    with small_disk(tmp_path / "disk", 64) as disk:
        cli = whole.line(cli_server, disk.path / "home")
        n_before, left = len(runs_of(cli.home)), random.SystemRandom().randrange(int(0.9 * whole.blocks))
        print(f"{left} of {whole.blocks} bytes are left")  # noqa: T201 - shown when the test fails
        disk.fill(left)
        answer = cli(*whole.command.words(cli.home))
        check_failure(cli, answer, "No space left on device")
        disk.clear()
        check_going_on(cli, whole, n_before, answer.code)


@pytest.mark.parametrize("number", range(times(1)))
def test_a_limit_of_the_size_of_files_is_reported_like_a_full_disk(
    whole: Whole, cli_server: Server, folder: Path, number: int
):
    cli = whole.line(cli_server, folder / "home")
    n_before, largest = len(runs_of(cli.home)), max(whole.sizes)
    limit = random.SystemRandom().randrange(400, int(0.9 * largest))
    print(f"files of at most {limit} bytes, the largest has {largest}")  # noqa: T201 - shown when the test fails
    answer = cli(*whole.command.words(cli.home), file_size=limit)
    check_failure(cli, answer, "File too large")
    check_going_on(cli, whole, n_before, answer.code)


def test_no_secret_of_the_environment_is_in_what_a_command_writes(whole: Whole):
    assert files_with_canary(whole.home) == []
