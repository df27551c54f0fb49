"""The hooks that a plugin may implement. There are four.

A plugin is a module named by an entry point of the group ``interp``; it marks its functions with :data:`hookimpl`.
"""

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import typer

    from interp_registry.choices import Registry
    from interp_registry.contracts.method import Method

__all__ = ["API_VERSION", "PROJECT", "InterpHooks", "hookimpl"]

API_VERSION = 1
"""Version of the plugin contract. A plugin may state the one that it was written for as ``INTERP_API``."""

PROJECT = "interp"
_hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class InterpHooks:
    """Hook specifications; implement any of them as a module-level function of the same name."""

    @_hookspec
    def register(self, registry: "Registry") -> None:
        """Add choices: ``registry.add(kind, name, Config)`` for any kind (model, dataset, metric, loss, ...)."""

    @_hookspec
    def methods(self) -> "Sequence[Method]":  # pyright: ignore[reportReturnType]
        """Return the methods (top-level commands) that this plugin brings."""

    @_hookspec
    def commands(self, app: "typer.Typer") -> None:
        """Add plain typer commands that are no methods. A built-in command cannot be replaced."""

    @_hookspec
    def configs(self) -> "Sequence[Path]":  # pyright: ignore[reportReturnType]
        """Return folders of YAML files: catalogs (model sets, experiments, data sets) and recipes."""
