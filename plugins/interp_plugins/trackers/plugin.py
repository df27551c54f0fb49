"""Registers the trackers and `interp ui`."""

from typing import TYPE_CHECKING

import typer

import interp_registry

if TYPE_CHECKING:
    from interp_registry.choices import Registry

INTERP_API = 1


@interp_registry.hookimpl
def register(registry: "Registry") -> None:
    """Add the trackers."""
    from interp_plugins.trackers.config import AimConfig, TensorBoardConfig, TrackioConfig, WandbConfig

    registry.add("tracker", "aim", AimConfig)
    registry.add("tracker", "tensorboard", TensorBoardConfig)
    registry.add("tracker", "wandb", WandbConfig)
    registry.add("tracker", "trackio", TrackioConfig)


@interp_registry.hookimpl
def commands(app: typer.Typer) -> None:
    """Add `interp ui`."""
    from interp_plugins.trackers.ui import ui

    app.command("ui")(ui)
