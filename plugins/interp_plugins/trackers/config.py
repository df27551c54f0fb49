"""Configurations of trackers; nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from interp_registry.choices import TrackerConfig

__all__ = ["AimConfig", "TensorBoardConfig", "TrackioConfig", "WandbConfig"]


@dataclass
class AimConfig(TrackerConfig):
    """Aim: a local data base of runs with an interface of its own (`interp ui`)."""

    impl: ClassVar[str] = "interp_plugins.trackers.aim:AimTracker"

    repo: Path | None = None
    """folder of the Aim repository; the folder of all runs when left out, where `interp ui` looks"""
    experiment: str | None = None
    """name of the experiment; the command when left out"""


@dataclass
class TensorBoardConfig(TrackerConfig):
    """TensorBoard event files."""

    impl: ClassVar[str] = "interp_plugins.trackers.accelerated:TensorBoard"

    folder: Path | None = None
    """where to write; `tensorboard` in the run's folder when left out"""


@dataclass
class WandbConfig(TrackerConfig):
    """Weights & Biases; with --offline it writes to disk, for `wandb sync`."""

    impl: ClassVar[str] = "interp_plugins.trackers.accelerated:Wandb"

    project: str = "interp"
    """name of the project"""
    entity: str | None = None
    """user or team; the account's default when left out"""


@dataclass
class TrackioConfig(TrackerConfig):
    """trackio: a light tracker that keeps its data on this machine."""

    impl: ClassVar[str] = "interp_plugins.trackers.accelerated:Trackio"

    project: str = "interp"
    """name of the project"""
