"""Plugins that never come back: after some quiet what is waited for is named in one line, nothing is ended, and a signal ends it."""

import json
import re
import signal
import time
from pathlib import Path

import pytest
from forked_cli import CommandLine, Running

pytestmark = pytest.mark.slow

QUIET = ("--no-report", "--device", "cpu", "--json")
EXTRACT = ("extract", "liar-model", "--dataset")
ALIGN = ("align", "lm-d32", "lm-d64", "--limit", "16")
LONGEST_END = 30.0
"""Seconds within which a command ends after a signal; most of it is for a busy machine."""

HANGING = {
    "a length": ((*EXTRACT, "liar-dataset-hangs-len"), "Texts.__len__ (liar_data.py, line ", signal.SIGINT),
    "a sample": ((*EXTRACT, "liar-dataset-hangs"), "'liar-dataset-hangs', sample 7, called by", signal.SIGTERM),
    "an image": (
        ("extract", "vit-d32", "--dataset", "liar-images-hangs"),
        "'liar-images-hangs', sample 7",
        signal.SIGINT,
    ),
    "a model": (
        ("extract", "liar-model-hangs", "--dataset", "liar-dataset"),
        "Model.run (liar_models.py",
        signal.SIGTERM,
    ),
    "a metric": ((*ALIGN, "--metric", "liar-metric-hangs"), "Metric.score_pairs (liar_metrics.py", signal.SIGINT),
}


def messages(run: Path) -> list[str]:
    """The warnings among a run's events."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [event["text"] for event in events if event["kind"] == "message" and event["level"] == "warning"]


def wait_for_warning(liar: CommandLine, running: Running) -> Path:
    """The folder of the run that says what it waits for."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for path in (liar.home / "runs").glob("*/events.jsonl"):
            if "waiting for" in path.read_text():
                return path.parent
        assert running.poll() is None, running.wait().text
        time.sleep(0.05)
    raise AssertionError("it said nothing within two minutes")


@pytest.mark.parametrize("name", HANGING)
def test_what_hangs_is_named_once_and_a_signal_ends_it(liar: CommandLine, name: str):
    words, named, signum = HANGING[name]
    running = liar.start(*words, *QUIET, INTERP_PATIENCE="3")
    run = wait_for_warning(liar, running)
    time.sleep(1.5)  # it is said once, and the run goes on waiting
    assert running.poll() is None
    running.send(signum)
    begin = time.monotonic()
    done = running.wait(60)
    assert time.monotonic() - begin < LONGEST_END
    assert done.code == 128 + signum, done.text
    (warning,) = messages(run)
    assert named in warning, warning
    assert warning in done.err
    assert re.search(rf"interp runs resume {run.name}", " ".join(done.err.split()))
    assert "Traceback" not in done.err
    states = {entry["run"]: entry["state"] for entry in liar("runs", "list", "--json").json["runs"]}
    assert states[run.name] == "interrupted"
    assert not [path for path in (liar.home / "store").rglob("DONE.json") if "liar" in str(path)]


@pytest.mark.parametrize("lie", ["building", "start", "log", "close", "raises", "exits"])
def test_a_tracker_that_hangs_or_fails_is_named_once_and_the_run_ends_as_without_it(liar: CommandLine, lie: str):
    begin = time.monotonic()
    words = (*EXTRACT, "liar-dataset", "--tracker", f"liar-tracker-{lie}", *QUIET)
    done = liar(*words, INTERP_PATIENCE="2")
    assert time.monotonic() - begin < 50  # by default one call alone may take a minute
    assert done.code == 0, done.text
    method = {"building": "start", "raises": "start", "exits": "start"}.get(lie, lie)
    said = [line for line in done.err.splitlines() if "tracker" in line]
    assert said == [f"tracker 'liar-tracker-{lie}' failed to {method} ({said[0].partition('(')[2]}"], done.err
    (run,) = (liar.home / "runs").iterdir()
    assert len(messages(run)) == 1
    assert "Traceback" not in done.err


def test_a_signal_does_not_wait_for_a_tracker_that_hangs(liar: CommandLine):
    running = liar.start(*EXTRACT, "liar-dataset", "--tracker", "liar-tracker-log", *QUIET, INTERP_PATIENCE="500")
    until = time.monotonic() + 60
    while not list(liar.home.rglob("DONE.json")) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1.0)
    running.send(signal.SIGINT)
    begin = time.monotonic()
    done = running.wait(60)
    assert time.monotonic() - begin < LONGEST_END
    assert done.code == 130, done.text


def test_a_launcher_that_hangs_is_named_and_ctrl_c_ends_it(liar: CommandLine):
    running = liar.start(
        "launch", "liar-launcher-hangs", "--no-snapshot", "--", "config", "show", INTERP_PATIENCE="0.5"
    )
    until = time.monotonic() + 60
    err = running.folder / "err"
    while not (err.exists() and "Launcher is starting tasks" in err.read_text()) and time.monotonic() < until:
        assert running.poll() is None, running.wait().text
        time.sleep(0.05)
    running.send(signal.SIGINT)
    done = running.wait(60)
    assert done.code == 130, done.text
    assert "Launcher is starting tasks, for 0.5 s already; Ctrl-C ends the waiting" in done.err
    assert "the launcher may have started something: `interp launch status" in " ".join(done.err.split())
    assert "Traceback" not in done.err
