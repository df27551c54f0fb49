"""``interp watch`` and ``interp report`` find runs by any of their names and show what is there."""

import json
import sys
import threading
import time
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from interp_cli.__main__ import run as interp
from interp_cli.chosen_runs import chosen_runs
from interp_cli.launch.folder import find_launch
from interp_cli.quiet import Silence
from interp_cli.system_sampler import device_gib, device_name, memory_gib, sampled
from interp_registry.contracts.method import Result
from interp_registry.errors import UnknownNameError, UsageError
from interp_registry.events import JsonlSink, MemorySink, Scalar
from interp_registry.sample_figures import sample_figures
from interp_registry.stores.home import layout
from interp_registry.stores.run import RunStore


def new_run(command="align", state="done", seed=0):
    run = RunStore(layout(None).runs).create(command, {"metric": "cka", "seed": seed}, argv=["interp", command])
    run.start()
    with JsonlSink(run.events, progress_interval=0) as sink:
        sink.state("running", info={"command": command})
        for step in range(1, 6):
            sink.progress("pairs", step, 10, "pairs")
            sink.scalar("loss/train", 1 / step, step)
        if state != "running":
            sink.state(state, "no disk" if state == "failed" else "")
    if state == "done":
        run.finish(Result(scalars={"score": 0.5 + seed}, figures=sample_figures()[:2]).to_json())
    elif state == "failed":
        run.fail("no disk")
    return run


def launch_of(*runs):
    folder = layout(None).launches / "20260101-sweep"
    (folder / "state").mkdir(parents=True)
    (folder / "tasks.jsonl").write_text("{}\n" * len(runs))
    for i, run in enumerate(runs):
        (folder / "state" / f"{i}.run").write_text(f"{run.path}\n")
    (folder / "state" / "9.run").write_text("/nowhere\n")
    return folder


def test_runs_are_found_by_id_part_last_folder_and_launch_each_once():
    first, second = new_run(), new_run()
    folder = launch_of(second, first)
    ids = lambda *names: [run.id for run in chosen_runs(names, None)]  # noqa: E731
    assert ids(first.id) == ids(first.id[-6:]) == ids(str(first.path)) == [first.id]
    assert ids("last") == [second.id]
    assert ids(str(first.path.parent)) == [first.id, second.id]
    assert ids(folder.name) == ids(str(folder)) == [second.id, first.id]
    assert ids("last", second.id, first.id) == [second.id, first.id]


def test_last_is_the_latest_of_runs_and_launches_and_a_run_of_a_launch_stands_for_all_of_it():
    early, first, second = new_run(), new_run(), new_run()
    folder = launch_of(first, second)
    (folder / "launch.json").write_text("{}")
    ids = lambda: [run.id for run in chosen_runs(["last"], None)]  # noqa: E731
    assert ids() == [first.id, second.id]
    assert find_launch(folder.parent, "last").path == folder
    alone = new_run()
    assert ids() == [alone.id]
    later = folder.parent / "29990101-000000-abcdef"
    (later / "state").mkdir(parents=True)
    (later / "launch.json").write_text("{}")
    assert ids() == []
    (later / "state" / "0.run").write_text(f"{early.path}\n")
    assert ids() == [early.id]


def test_last_is_a_launch_that_made_no_run_of_this_home_and_nothing_when_there_is_nothing():
    with pytest.raises(UnknownNameError, match="last"):
        chosen_runs(["last"], None)
    launch_of()
    (layout(None).launches / "20260101-sweep" / "launch.json").write_text("{}")
    assert chosen_runs(["last"], None) == []


def test_names_that_mean_nothing_are_refused_with_what_is_there(tmp_path):
    run = new_run()
    launch_of(run)
    with pytest.raises(UnknownNameError, match="unknown run or launch 'nosuch'") as raised:
        chosen_runs(["nosuch"], None)
    assert "20260101-sweep" in str(raised.value)
    with pytest.raises(UsageError, match="holds no run"):
        chosen_runs([f"{tmp_path}/"], None)


def test_watching_a_finished_run_shows_it_and_ends_with_its_outcome(capsys):
    done, failed = new_run(), new_run(state="failed")
    assert interp(["watch", done.id]) == 0
    assert capsys.readouterr().out.split(maxsplit=1) == [done.path.name, "done  pairs 5/10 pairs  loss/train 0.2\n"]
    assert interp(["watch", failed.id]) == 1
    assert "failed" in capsys.readouterr().out


def test_watching_several_runs_shows_a_line_for_each_and_their_states(capsys):
    runs = [new_run(), new_run(state="failed"), new_run(command="extract")]
    assert interp(["watch", "--once", *(run.id for run in runs)]) == 0
    shown = capsys.readouterr().out
    assert [run.path.name in shown for run in runs] == [True] * 3
    assert "2 done, 1 failed" in shown


def test_ids_of_watched_runs_stay_whole_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    runs = [new_run(), new_run(command="align pairs")]
    assert interp(["watch", "--once", *(run.id for run in runs)]) == 0
    shown = capsys.readouterr().out
    assert [run.path.name in shown for run in runs] == [True] * 2


def test_a_running_run_is_followed_until_it_ends(capsys):
    run = new_run(state="running")

    def finish():
        time.sleep(0.6)
        with JsonlSink(run.events) as sink:
            sink.progress("pairs", 10, 10, "pairs")
            sink.state("done")

    thread = threading.Thread(target=finish)
    thread.start()
    assert interp(["watch", run.id]) == 0
    thread.join()
    lines = capsys.readouterr().out.splitlines()
    assert "running  pairs 5/10" in lines[0]
    assert "done  pairs 10/10" in lines[-1]


def test_a_killed_run_is_seen_as_interrupted(capsys, monkeypatch):
    run = new_run(state="running")
    monkeypatch.setattr("interp_registry.stores.run.process_alive", lambda *_: False)
    assert interp(["watch", run.id]) == 1
    assert "interrupted" in capsys.readouterr().out


def test_a_report_of_several_runs_is_written_with_its_files_and_never_into_a_sealed_run(capsys, tmp_path):
    first, second = new_run(), new_run(seed=1)
    first.seal()
    assert interp(["report", first.id, second.id, "--json", "--title", "Two <runs>"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["runs"] == [first.id, second.id]
    page = layout(None).root / "reports"
    assert told["page"].startswith(str(page))
    html = (page / told["page"]).read_text()
    assert "Two &lt;runs&gt;" in html
    assert "Settings that differ" in html
    assert sum(name.endswith(".png") for name in told["files"]) == 6
    assert first.problems() == []
    assert interp(["report", "--to", str(tmp_path / "here"), "--no-files"]) == 0
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["index.html"]
    assert capsys.readouterr().out.count("wrote") == 1
    assert interp(["report", "--to", str(tmp_path / "here")]) == 0
    assert f"wrote {tmp_path / 'here' / 'figures'}\n" in capsys.readouterr().out


def test_memory_and_device_are_sampled_while_work_goes_on(monkeypatch):
    monkeypatch.setattr("interp_cli.system_sampler._FIRST_SECONDS", 0.01)
    sink = MemorySink()
    until = time.monotonic() + 30
    with sampled(sink, Silence()):
        while not any(isinstance(event, Scalar) for event in sink.events) and time.monotonic() < until:
            time.sleep(0.01)
    names = [event.name for event in sink.events if isinstance(event, Scalar)]
    assert names[:1] == ["system/memory"]
    assert 0.01 < memory_gib() < 100


def test_a_half_imported_torch_is_left_alone(monkeypatch):
    half = ModuleType("torch")
    half.__spec__ = ModuleSpec("torch", None)
    half.__spec__._initializing = True
    half.get_num_threads = lambda: 1
    monkeypatch.setitem(sys.modules, "torch", half)
    assert device_name() == ""
    assert device_gib() is None
