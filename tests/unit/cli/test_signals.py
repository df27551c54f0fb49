"""A first signal gives a stage that asks the time to end; one that asks no more is interrupted."""

import os
import signal
import subprocess
import sys
import time
import weakref
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from interp_cli.__main__ import run
from interp_cli.signals import stop_on_signals
from interp_registry.errors import InterruptedRunError
from interp_registry.stores.run import RunState, RunStore

_PROGRAM = """
import os, signal, sys
from interp_cli.__main__ import run
from interp_cli.signals import stop_on_signals
from interp_registry.errors import InterruptedRunError

try:
    with stop_on_signals():
        exec("os.kill(os.getpid(), signal.SIGINT)", {"os": os, "signal": signal})
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interruption_inside_exec_leaves_the_exit_code_alone(tmp_path: Path):
    (tmp_path / "program.py").write_text(_PROGRAM)
    path = os.pathsep.join(entry for entry in (os.environ.get("PYTHONPATH"), *sys.path) if entry)
    ended = subprocess.run(
        [sys.executable, "-m", "program"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert ended.returncode == 130


def test_a_stage_that_asks_is_told_to_stop_and_one_that_never_asked_is_interrupted():
    with stop_on_signals() as flag, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert flag.signum == signal.SIGTERM
    with stop_on_signals() as flag:
        assert not flag()
        os.kill(os.getpid(), signal.SIGINT)
        assert flag()
        assert flag.signum == signal.SIGINT


def test_a_stage_that_asks_no_more_is_interrupted_and_the_alarm_is_over_with_the_block(monkeypatch):
    monkeypatch.setattr("interp_cli.signals._LEAST_SECONDS", 0.5)
    with stop_on_signals() as flag:
        assert not flag()
        os.kill(os.getpid(), signal.SIGTERM)  # noted only
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(30)  # a step that hangs in a plugin
    assert time.monotonic() - begin < 25
    assert flag.signum == signal.SIGTERM
    with stop_on_signals() as flag:
        assert not flag()
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.7)  # SIGALRM would end this process


def test_a_stage_that_asked_long_ago_is_interrupted_at_once(monkeypatch):
    monkeypatch.setattr("interp_cli.signals._LEAST_SECONDS", 0.05)
    with stop_on_signals() as flag:
        assert not flag()
        time.sleep(0.1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_long_steps_are_given_twice_their_time(monkeypatch):
    monkeypatch.setattr("interp_cli.signals._LEAST_SECONDS", 0.05)
    with stop_on_signals() as flag:
        assert not flag()
        time.sleep(0.8)
        assert not flag()
        os.kill(os.getpid(), signal.SIGTERM)
        begin = time.monotonic()
        while time.monotonic() - begin < 0.3:
            pass
        assert flag()


def test_a_block_around_another_one_knows_of_the_signal_and_the_alarm_of_others_is_left_alone():
    alarm = signal.getsignal(signal.SIGALRM)
    with stop_on_signals() as outer:
        with stop_on_signals() as inner, pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert (outer.signum, inner.signum) == (signal.SIGTERM, signal.SIGTERM)
        with stop_on_signals() as asked:
            assert not asked()
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGALRM) == asked.handle
        assert signal.getsignal(signal.SIGALRM) == alarm
        assert outer.signum == signal.SIGINT


def test_an_interruption_that_falls_into_a_destructor_comes_right_after_it():
    class Signalled:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    with stop_on_signals() as flag:
        Signalled()  # an exception that was lost in it would fail this test as a warning
        assert flag.signum == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)


def test_an_interruption_that_falls_into_the_naming_of_an_attribute_comes_right_after_it():
    class Signalled:
        def __set_name__(self, owner, name):
            signal.raise_signal(signal.SIGINT)

    with stop_on_signals() as flag:
        type("Named", (), {"attribute": Signalled()})  # Python 3.11 makes a RuntimeError of whatever is raised there
        assert flag.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)


def test_an_interruption_that_falls_into_the_callback_of_a_weak_reference_comes_right_after_it():
    class Signalled:
        def __bool__(self):
            signal.raise_signal(signal.SIGTERM)
            return False

    class Value:
        pass

    value, known = Value(), weakref.WeakValueDictionary()
    known["a"], known._iterating = value, Signalled()
    with stop_on_signals() as flag:
        del value  # an exception that was lost here would fail this test as a warning
        assert flag.signum == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)


def test_the_exit_code_is_of_the_signal_that_came_whatever_noticed_it(monkeypatch, capsys):
    def interrupted():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt as err:
            raise InterruptedRunError(signal.SIGINT, "a plugin was being loaded") from err

    monkeypatch.setattr("interp_cli.app.build_app", interrupted)
    assert run(["runs", "list"]) == 143
    assert "a plugin was being loaded" in capsys.readouterr().err


def test_an_error_that_a_library_makes_of_an_interruption_is_one(monkeypatch, capsys):
    def library():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt as err:
            raise RuntimeError("the library could not be set up") from err

    monkeypatch.setattr("interp_cli.app.build_app", library)
    assert run(["runs", "list"]) == 143
    assert "interrupted" in (shown := capsys.readouterr().err)
    assert "defect" not in shown
    monkeypatch.setenv("INTERP_DEBUG", "1")
    assert run(["runs", "list"]) == 143
    assert "the library could not be set up" in capsys.readouterr().err


def test_the_run_that_is_being_opened_is_named_whatever_became_of_the_interruption(monkeypatch, capsys, tmp_path):
    def library(*folders):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt as err:
            raise RuntimeError("the library could not be set up") from err

    monkeypatch.setattr("interp_cli.execution.tell_launch", library)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32))
    assert run(["align", str(tmp_path / "x.npy"), str(tmp_path / "x.npy"), "--metric", "cka"]) == 143
    shown = " ".join(capsys.readouterr().err.split())
    assert "interp runs resume" in shown
    assert "defect" not in shown


def test_a_signal_in_a_run_within_a_run_ends_both_and_begins_no_other(monkeypatch, capsys, own_home):
    monkeypatch.setattr("interp_plugins.methods.spd.run._run_one", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert run(["spd", "run", "tms_5-2", "tms_5-2-id", "--quiet"]) == 143
    parent, child = RunStore(own_home / "interp" / "runs").runs()
    assert (parent.state, child.state) == (RunState.INTERRUPTED, RunState.INTERRUPTED)
    assert f"interp runs resume {parent.id}" in " ".join(capsys.readouterr().err.split())


def test_a_signal_at_the_very_end_is_an_interruption_without_a_traceback(monkeypatch, capsys):
    @contextmanager
    def ends_late():
        with stop_on_signals() as flag:
            yield flag
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("interp_cli.__main__.stop_on_signals", ends_late)
    assert run(["runs", "list"]) == 143
    assert capsys.readouterr().err == "error interrupted\n"
