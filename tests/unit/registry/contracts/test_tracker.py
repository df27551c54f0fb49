"""A tracker that fails is reported once and left out; the run's own events are always written."""

import threading
import time
from pathlib import Path

import pytest

from interp_registry.contracts.tracker import GuardedTracker, TrackedRun, Tracker
from interp_registry.events import MemorySink, Message, Scalar


class Recorder(Tracker):
    def __init__(self, fail_on=()):
        self.calls, self.fail_on = [], fail_on

    def _call(self, name, *arguments):
        if name in self.fail_on:
            raise RuntimeError("server is down")
        self.calls.append((name, *arguments))

    def start(self, run):
        self._call("start", run.name)

    def log(self, values, step):
        self._call("log", dict(values), step)

    def image(self, name, png, step):
        self._call("image", name, step)

    def close(self):
        self._call("close")


def use(tracker):
    tracker.start(TrackedRun("r1", "demo", Path()))
    tracker.log({"loss": 0.5}, 1)
    tracker.image("map", b"png", 1)
    tracker.log({"loss": 0.4}, 2)
    tracker.close()


@pytest.mark.parametrize("method", ["start", "log", "image", "close"])
def test_a_failing_tracker_is_reported_once_and_left_out_while_others_go_on(method, caplog):
    bad, good, sink = Recorder(fail_on=(method,)), Recorder(), MemorySink()
    guarded = GuardedTracker([("bad", bad), ("good", good)], sink)
    use(guarded)
    assert [call[0] for call in good.calls] == ["start", "log", "image", "log", "close"]
    warnings = [event for event in sink.events if isinstance(event, Message)]
    assert [(w.level, w.text) for w in warnings] == [
        ("warning", f"tracker 'bad' failed to {method} (RuntimeError: server is down); it is left out from here on")
    ]
    assert guarded.names == ("good",)
    assert not caplog.records  # it would be shown twice
    use(GuardedTracker([("bad", Recorder(fail_on=(method,)))]))
    assert [record.getMessage() for record in caplog.records] == [warnings[0].text]


def workers():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("interp-tracker")]


@pytest.mark.parametrize("method", ["start", "log", "image", "close"])
def test_a_tracker_that_hangs_is_reported_once_and_left_out(method):
    let_go = threading.Event()

    class Hanging(Recorder):
        def _call(self, name, *arguments):
            if name == method:
                let_go.wait(60)

    good, sink = Recorder(), MemorySink()
    begin = time.monotonic()
    use(GuardedTracker([("slow", Hanging()), ("good", good)], sink, patience=0.2))
    assert time.monotonic() - begin < 5
    assert [call[0] for call in good.calls] == ["start", "log", "image", "log", "close"]
    (warning,) = [event for event in sink.events if isinstance(event, Message)]
    assert warning.text == (
        f"tracker 'slow' failed to {method} (TimeoutError: no answer within 0.2 s); it is left out from here on"
    )
    let_go.set()
    while workers() and time.monotonic() - begin < 10:
        time.sleep(0.01)
    assert not workers()


@pytest.mark.parametrize("raised", [SystemExit(0), KeyboardInterrupt(), GeneratorExit("odd")])
@pytest.mark.parametrize("method", ["start", "log", "image", "close"])
def test_a_tracker_that_asks_to_exit_ends_neither_the_run_nor_its_own_thread_unheard(method, raised):
    class Exiting(Recorder):
        def _call(self, name, *arguments):
            if name == method:
                raise raised

    good, sink, begin = Recorder(), MemorySink(), time.monotonic()
    use(GuardedTracker([("bad", Exiting()), ("good", good)], sink))
    assert time.monotonic() - begin < 5
    assert [call[0] for call in good.calls] == ["start", "log", "image", "log", "close"]
    (warning,) = [event for event in sink.events if isinstance(event, Message)]
    assert f"tracker 'bad' failed to {method} ({type(raised).__name__}" in warning.text


def test_a_slow_tracker_gets_all_numbers_in_order_and_slows_nothing():
    class Slow(Recorder):
        def log(self, values, step):
            time.sleep(0.02)
            super().log(values, step)

    slow, sink = Slow(), MemorySink()
    guarded = GuardedTracker([("slow", slow)], sink)
    guarded.start(TrackedRun("r1", "demo", Path()))
    values, begin = {}, time.monotonic()
    for step in range(50):
        values["loss"] = float(step)  # the caller may use its dictionary again
        guarded.log(values, step)
    assert time.monotonic() - begin < 0.5
    guarded.close()
    assert [call[1:] for call in slow.calls if call[0] == "log"] == [({"loss": float(s)}, s) for s in range(50)]
    assert slow.calls[-1] == ("close",)
    assert guarded.names == ("slow",)


def test_a_tracker_that_falls_behind_without_end_is_left_out(monkeypatch):
    monkeypatch.setattr("interp_registry.contracts.tracker._MOST_OPEN", 5)
    at_work, let_go = threading.Event(), threading.Event()

    class Slow(Recorder):
        def log(self, values, step):
            at_work.set()
            let_go.wait(60)

    sink = MemorySink()
    guarded = GuardedTracker([("slow", Slow())], sink)
    guarded.start(TrackedRun("r1", "demo", Path()))
    for step in range(20):
        guarded.log({"loss": 1.0}, step)
        assert at_work.wait(60)
    let_go.set()
    (warning,) = [event for event in sink.events if isinstance(event, Message)]
    assert "tracker 'slow' failed to log (TimeoutError: 6 calls behind)" in warning.text
    assert len([event for event in sink.events if isinstance(event, Scalar)]) == 20


def test_numbers_reach_the_events_whatever_trackers_do():
    sink = MemorySink()
    use(GuardedTracker([("bad", Recorder(fail_on=("start",)))], sink))
    scalars = [(event.name, event.value, event.step) for event in sink.events if isinstance(event, Scalar)]
    assert scalars == [("loss", 0.5, 1), ("loss", 0.4, 2)]
