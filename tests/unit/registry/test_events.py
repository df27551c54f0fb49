"""Events are written as lines that survive a killed writer, and can be followed."""

import json
import math
import threading

import pytest

from interp_registry.errors import PluginError
from interp_registry.events import (
    FanOut,
    HeatMapEvent,
    JsonlSink,
    MemorySink,
    Message,
    NullSink,
    Progress,
    Scalar,
    State,
    TableEvent,
    event_from_json,
    follow_events,
    read_events,
)
from interp_registry.figures import HeatMap, Table


def emit_all(sink):
    sink.state("running", info={"device": "cpu"})
    sink.progress("extract", 1, 2, "models")
    sink.scalar("loss/train", math.nan, 3)
    sink.table("models", Table(("a",), ((1,),)))
    sink.heat_map("layers", [[0.0, math.inf]], rows=("r",), units="score")
    sink.message("half way", "warning")
    sink.state("done")


def test_every_event_reads_back_as_it_was_written(tmp_path):
    memory = MemorySink()
    with JsonlSink(tmp_path / "events.jsonl") as file:
        emit_all(memory)
        for event in memory.events:
            FanOut([file]).emit(event)
    assert list(read_events(tmp_path / "events.jsonl")) == memory.events
    kinds = [type(event) for event in memory.events]
    assert kinds == [State, Progress, Scalar, TableEvent, HeatMapEvent, Message, State]
    assert memory.events[4].figure == HeatMap([[0.0, math.inf]], rows=("r",), units="score", title="layers")


def test_lines_are_strict_json_with_a_kind_a_version_and_a_time(tmp_path):
    with JsonlSink(tmp_path / "e.jsonl") as sink:
        emit_all(sink)
    for line in (tmp_path / "e.jsonl").read_text().splitlines():
        data = json.loads(line, parse_constant=pytest.fail)
        assert {"kind", "v", "time"} <= data.keys()


def test_a_torn_last_line_is_passed_over_and_ended_by_the_next_writer(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps(Message("one").to_json()) + '\n{"kind":"message","te')
    assert [event.text for event in read_events(path)] == ["one"]
    with JsonlSink(path) as sink:
        sink.message("two")
    assert [event.text for event in read_events(path)] == ["one", "two"]


def test_unknown_kinds_and_rubbish_are_passed_over(tmp_path):
    path = tmp_path / "e.jsonl"
    good = json.dumps(Message("ok").to_json()).encode()
    path.write_bytes(b'{"kind":"hologram"}\n[1]\n\xff\xfe\n{"kind":"scalar","v":1}\n' + good + b"\n")
    assert [event.text for event in read_events(path)] == ["ok"]
    assert event_from_json({"kind": "hologram"}) is None


def test_a_missing_file_holds_no_events(tmp_path):
    assert list(read_events(tmp_path / "none.jsonl")) == []


def test_progress_of_each_step_is_thinned_but_the_last_unit_is_always_written(tmp_path):
    with JsonlSink(tmp_path / "e.jsonl", progress_interval=3600) as sink:
        for done in range(1, 101):
            sink.progress("train", done, 100)
        sink.progress("other", 1, 5)
    assert [(e.task, e.done) for e in read_events(tmp_path / "e.jsonl")] == [("train", 1), ("train", 100), ("other", 1)]


def test_a_fan_out_lets_each_sink_thin_progress_in_its_own_way(tmp_path):
    memory = MemorySink()
    with JsonlSink(tmp_path / "e.jsonl", progress_interval=3600) as file:
        fan = FanOut([memory, file])
        for done in range(1, 11):
            fan.progress("train", done, 10)
    assert len(memory.events) == 10
    assert [event.done for event in read_events(tmp_path / "e.jsonl")] == [1, 10]


def test_following_yields_what_another_thread_writes_until_the_run_ends(tmp_path):
    path = tmp_path / "e.jsonl"
    sink = JsonlSink(path)
    sink.message("before")
    seen, idle = [], 0
    for event in follow_events(path, poll=0.01):
        if event is None:
            idle += 1
            if idle == 1:
                threading.Thread(target=lambda: (sink.message("after"), sink.state("done"))).start()
        else:
            seen.append(event)
    assert [type(event) for event in seen] == [Message, Message, State]
    sink.close()


def test_following_stops_when_asked_and_waits_for_a_line_to_be_whole(tmp_path):
    path = tmp_path / "e.jsonl"
    whole = json.dumps(Message("whole").to_json())
    path.write_text(whole[:10])
    looks = []
    for event in follow_events(path, poll=0, stop=lambda: len(looks) >= 3):
        looks.append(event)
        if len(looks) == 1:
            path.write_text(whole + "\n")
    assert [event.text for event in looks if event] == ["whole"]


def test_a_resumed_run_is_followed_past_its_first_end(tmp_path):
    path = tmp_path / "e.jsonl"
    with JsonlSink(path) as sink:
        sink.state("interrupted")
        sink.state("running")
        sink.state("done")
    assert [event.state for event in follow_events(path, poll=0)] == ["interrupted", "running", "done"]


def test_a_closed_or_null_sink_drops_events(tmp_path):
    NullSink().message("nowhere")
    sink = JsonlSink(tmp_path / "e.jsonl")
    fan = FanOut([sink])
    fan.close()
    fan.message("late")
    assert list(read_events(tmp_path / "e.jsonl")) == []


def test_unknown_states_and_levels_are_refused():
    with pytest.raises(PluginError, match="expected one of 'created'"):
        State("finished")
    with pytest.raises(PluginError, match="expected one of 'debug'"):
        MemorySink().message("x", "loud")
