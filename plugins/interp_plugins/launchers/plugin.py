"""Registers the launchers."""

from typing import TYPE_CHECKING

import interp_registry

if TYPE_CHECKING:
    from interp_registry.choices import Registry

__all__ = ["register"]


@interp_registry.hookimpl
def register(registry: "Registry") -> None:
    """Add the launchers."""
    from interp_plugins.launchers import config

    registry.add("launcher", "local", config.LocalLauncherConfig)
    registry.add("launcher", "slurm", config.SlurmLauncherConfig)
    registry.add("launcher", "ssh", config.SshLauncherConfig)
    registry.add("launcher", "print", config.PrintLauncherConfig)
