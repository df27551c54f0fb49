"""Registers the launchers."""

from interp_plugins.launchers.config import (
    LocalLauncherConfig,
    PrintLauncherConfig,
    SlurmLauncherConfig,
    SshLauncherConfig,
)
from interp_registry.choices import Registry
from interp_registry.hookspecs import hookimpl

__all__ = ["register"]


@hookimpl
def register(registry: Registry) -> None:
    """Add the launchers."""
    registry.add("launcher", "local", LocalLauncherConfig)
    registry.add("launcher", "slurm", SlurmLauncherConfig)
    registry.add("launcher", "ssh", SshLauncherConfig)
    registry.add("launcher", "print", PrintLauncherConfig)
