"""Trackers take plain settings, say what is missing, and hand numbers on."""

from pathlib import Path

import pytest

from interp_plugins.trackers.accelerated import TensorBoard, Trackio, Wandb, flat_settings
from interp_plugins.trackers.config import AimConfig, TensorBoardConfig, TrackioConfig, WandbConfig
from interp_registry.choices import TrackerConfig
from interp_registry.contracts.tracker import TrackedRun
from interp_registry.discovery import discover
from interp_registry.errors import MissingDependencyError


def test_all_trackers_are_found_by_name():
    discover()
    names = {"aim": AimConfig, "tensorboard": TensorBoardConfig, "wandb": WandbConfig, "trackio": TrackioConfig}
    assert {name: TrackerConfig.get_choice_class(name) for name in names} == names


def test_settings_are_flat_and_primitive():
    config = {"a": {"b": 1, "c": [1, 2]}, "d": None, "e": True}
    assert flat_settings(config) == {"a.b": 1, "a.c": "[1, 2]", "d": "None", "e": True}


@pytest.mark.parametrize(
    ("tracker", "package"),
    [
        (TensorBoard(TensorBoardConfig()), "tensorboard"),
        (Wandb(WandbConfig()), "wandb"),
        (Trackio(TrackioConfig()), "trackio"),
    ],
)
def test_a_tracker_whose_package_is_missing_says_how_to_get_it(tracker, package, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=f"{package} is not installed") as raised:
        tracker.start(TrackedRun("r", "demo", Path()))
    assert raised.value.hint == f"pip install 'interp-cli[{package}]'"
    tracker.close()
