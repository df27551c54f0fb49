"""A real Aim repository: what is tracked can be read back, a run that goes on continues, and older runs are imported. Slow tier."""

import pytest

from interp_plugins.trackers.aim import AimTracker, known_hash
from interp_plugins.trackers.config import AimConfig
from interp_plugins.trackers.ui import import_runs
from interp_registry.contracts.method import Result
from interp_registry.contracts.tracker import GuardedTracker, TrackedRun
from interp_registry.events import JsonlSink, MemorySink, Message
from interp_registry.figures import Picture
from interp_registry.stores.run import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]
pytest.importorskip("aim")


def tracked(folder, name="run-1"):
    return TrackedRun(name, "lens train", folder / name, {"lr": 0.1, "lens": {"type": "tuned"}})


def read(repo, name="run-1"):
    import aim

    run = aim.Run(known_hash(repo, name), repo=aim.Repo.from_path(str(repo)), read_only=True)
    return run, {metric.name: metric.values.values_list() for metric in run.metrics()}


def track(folder, values, **fields):
    tracker = AimTracker(AimConfig(**fields))
    tracker.start(tracked(folder))
    for step, value in values:
        tracker.log({"loss/train": value}, step)
    tracker.image("map", Picture.of_array([[0.0, 1.0]]).png, 0)
    tracker.close()
    tracker.close()


def test_what_is_tracked_can_be_read_back_and_a_run_that_goes_on_continues(tmp_path):
    track(tmp_path, [(0, 1.0), (1, 0.5)])
    track(tmp_path, [(2, 0.25)])
    run, metrics = read(tmp_path)
    assert metrics["loss/train"] == [1.0, 0.5, 0.25]
    assert run["hparams"] == {"lr": 0.1, "lens": {"type": "tuned"}}
    assert run["interp"]["stage"] == "lens train"
    assert run.experiment == "lens train"


def test_older_runs_are_imported_once_from_their_events(tmp_path):
    run = RunStore(tmp_path).create("align", {"metric": "cka"})
    with JsonlSink(run.events) as sink:
        for step in range(3):
            sink.scalar("loss", 1.0 / (step + 1), step)
    run.finish(Result(scalars={"score": 0.5, "device": "cpu"}).to_json())
    assert import_runs(tmp_path) == 1
    assert import_runs(tmp_path) == 0
    _, metrics = read(tmp_path, run.id)
    assert metrics == {"loss": [1.0, 0.5, pytest.approx(1 / 3)], "result/score": [0.5]}


def test_a_repository_that_cannot_be_written_is_reported_once_and_the_run_goes_on(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    sink = MemorySink()
    guarded = GuardedTracker([("aim", AimTracker(AimConfig(repo=tmp_path / "file" / "repo")))], sink)
    guarded.start(tracked(tmp_path))
    guarded.log({"loss": 1.0}, 0)
    guarded.close()
    assert len([event for event in sink.events if isinstance(event, Message)]) == 1
