"""TensorBoard, Weights & Biases (offline) and trackio for real, where they are installed. Slow tier."""

import importlib.util

import pytest

from interp_plugins.trackers.accelerated import TensorBoard, Trackio, Wandb
from interp_plugins.trackers.config import TensorBoardConfig, TrackioConfig, WandbConfig
from interp_registry.contracts.tracker import TrackedRun
from interp_registry.figures import Picture

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]


def needs(package):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} is not installed: uv sync --extra {package}"
    )


def use(tracker, folder):
    tracker.start(TrackedRun("run-1", "lens train", folder, {"lr": 0.1, "lens": {"type": "tuned"}}, offline=True))
    for step in range(3):
        tracker.log({"loss": 1.0 / (step + 1)}, step)
    tracker.image("map", Picture.of_array([[0.0, 1.0], [1.0, 0.0]]).png, 0)
    tracker.close()


@needs("tensorboard")
def test_tensorboard_files_hold_what_was_logged(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    use(TensorBoard(TensorBoardConfig()), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "run-1"))
    events.Reload()
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([1.0, 0.5, 1 / 3])
    assert events.Tags()["images"] == ["map"]


@needs("wandb")
def test_weights_and_biases_writes_to_disk_when_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    use(Wandb(WandbConfig()), tmp_path)
    assert list(tmp_path.rglob("run-*.wandb"))


@needs("trackio")
def test_trackio_keeps_its_data_on_this_machine_and_the_standard_output_clean(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    use(Trackio(TrackioConfig(project="interp-test")), tmp_path)
    assert list((tmp_path / "trackio").rglob("*.db"))
    assert capsys.readouterr().out == ""


class Chatty:
    """A tracker of accelerate that prints."""

    def start(self):
        print("project made")  # noqa: T201

    def store_init_configuration(self, values):
        self.values = values

    def finish(self):
        print("uploading ...")  # noqa: T201


def test_what_a_tracker_prints_goes_to_the_log(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr(TensorBoard, "_make", lambda *_: Chatty())
    tracker = TensorBoard(TensorBoardConfig())
    with caplog.at_level("INFO"):
        tracker.start(TrackedRun("run-1", "lens train", tmp_path, {"lr": 0.1}, offline=True))
        tracker.close()
    assert capsys.readouterr().out == ""
    assert [record.message for record in caplog.records][-2:] == ["project made", "uploading ..."]
