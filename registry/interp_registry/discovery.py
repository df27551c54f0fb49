"""Find plugins through entry points and load each behind a guard, so that one that is broken cannot break the others.

pluggy's own loader stops at the first plugin that raises; so every entry point of the group ``interp`` is loaded here one by one.
What a plugin had registered before it failed is taken back, the reason is kept, and ``interp plugins list`` shows it.
"""

import functools
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from interp_registry.choices import Registry
from interp_registry.contracts.method import Method
from interp_registry.errors import PluginError
from interp_registry.hookspecs import API_VERSION, PROJECT, InterpHooks

__all__ = ["GROUP", "PluginInfo", "Plugins", "discover", "load_plugins"]

GROUP = "interp"
FIRST_PARTY = "interp-cli"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PluginInfo:
    """One entry point and what became of it.

    Attributes:
        name: Name of the entry point.
        module: The module it names.
        distribution: Name of the distribution that brought it.
        version: That distribution's version.
        status: "loaded", "failed" or "blocked".
        milliseconds: Wall time of loading it and running its hooks.
        error: Why it failed, in one line.
        trace: The traceback, for ``interp plugins show``.
        methods: Names of the methods it brings.
    """

    name: str
    module: str
    distribution: str
    version: str
    status: str
    milliseconds: float = 0.0
    error: str | None = None
    trace: str | None = None
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plugins:
    """Everything that discovery found.

    Attributes:
        infos: One row per entry point, first-party ones first.
        registry: All choices, frozen.
        methods: Methods by name.
        commands: Functions that add plain commands to the typer app, with the plugin's name.
        config_folders: Folders of YAML that plugins ship.
    """

    infos: tuple[PluginInfo, ...]
    registry: Registry
    methods: dict[str, Method]
    commands: tuple[tuple[str, Callable[..., None]], ...]
    config_folders: tuple[Path, ...]

    @property
    def failed(self) -> tuple[PluginInfo, ...]:
        """The plugins that could not be loaded."""
        return tuple(info for info in self.infos if info.status == "failed")

    def api(self) -> dict[str, str]:
        """Public Python names of all methods -> import path."""
        return {name: path for method in self.methods.values() for name, path in method.api.items()}


@dataclass
class _Found:
    methods: dict[str, Method]
    commands: list[tuple[str, Callable[..., None]]]
    folders: list[Path]


@functools.cache
def discover() -> Plugins:
    """Load all installed plugins once per process.

    ``INTERP_BLOCK_PLUGINS=a,b`` leaves out plugins by name; ``INTERP_PLUGINS=`` (set and empty) leaves out all third parties.
    """
    blocked = {name.strip() for name in os.environ.get("INTERP_BLOCK_PLUGINS", "").split(",") if name.strip()}
    points = list(entry_points(group=GROUP))
    if os.environ.get("INTERP_PLUGINS") == "":
        points = [point for point in points if _distribution(point)[0] == FIRST_PARTY]
    return load_plugins(points, blocked | _blocked_by_user())


def _blocked_by_user() -> set[str]:
    from interp_registry.user_config import user_config

    return set(user_config().blocked_plugins)


def load_plugins(points: Iterable[EntryPoint], blocked: set[str] | None = None) -> Plugins:
    """Load the given entry points, first-party ones first, then by name.

    Args:
        points: Entry points of the group ``interp``.
        blocked: Names that are left out.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(InterpHooks)
    registry = Registry()
    found = _Found({}, [], [])
    ordered = sorted(points, key=lambda p: (_distribution(p)[0] != FIRST_PARTY, p.name))
    infos = tuple(_load_guarded(point, manager, registry, found, blocked or set()) for point in ordered)
    registry.freeze()
    return Plugins(infos, registry, found.methods, tuple(found.commands), tuple(found.folders))


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("?", "?")


def _load_guarded(
    point: EntryPoint, manager: pluggy.PluginManager, registry: Registry, found: _Found, blocked: set[str]
) -> PluginInfo:
    distribution, version = _distribution(point)
    facts = {"name": point.name, "module": point.value, "distribution": distribution, "version": version}
    if point.name in blocked:
        return PluginInfo(**facts, status="blocked")
    start = time.perf_counter()
    roll_back = registry.begin(point.name)
    before = _Found(dict(found.methods), list(found.commands), list(found.folders))
    try:
        methods = _load(point, manager, registry, found)
    except (Exception, SystemExit) as err:  # noqa: BLE001 - a stranger's code may raise anything; the others must go on
        roll_back()
        found.methods, found.commands, found.folders = before.methods, before.commands, before.folders
        if manager.has_plugin(point.name):
            manager.unregister(name=point.name)
        _log.debug("plugin %s failed", point.name, exc_info=True)
        reason = f"{type(err).__name__}: {err}".splitlines()[0]
        return PluginInfo(
            **facts, status="failed", milliseconds=_since(start), error=reason, trace=traceback.format_exc()
        )
    return PluginInfo(**facts, status="loaded", milliseconds=_since(start), methods=tuple(methods))


def _since(start: float) -> float:
    return 1e3 * (time.perf_counter() - start)


def _load(point: EntryPoint, manager: pluggy.PluginManager, registry: Registry, found: _Found) -> list[str]:
    module = point.load()
    wanted = getattr(module, "INTERP_API", API_VERSION)
    if wanted != API_VERSION:
        raise PluginError(f"written for plugin API {wanted}, this is {API_VERSION}", "install a matching version of it")
    manager.register(module, name=point.name)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        hooks = ", ".join(sorted(name for name in vars(InterpHooks) if not name.startswith("_")))
        raise PluginError(f"{module.__name__} implements no hook", f"mark one of {hooks} with @hookimpl")
    methods = [method for batch in _hook(manager, module, "methods")() for method in batch]
    for method in methods:
        _add_method(method, registry, found)
    _hook(manager, module, "register")(registry=registry)
    commands = _hook(manager, module, "commands")
    if commands.get_hookimpls():
        found.commands.append((point.name, commands))
    found.folders.extend(Path(folder) for batch in _hook(manager, module, "configs")() for folder in batch)
    return [method.name for method in methods]


def _hook(manager: pluggy.PluginManager, module: ModuleType, name: str) -> pluggy.HookCaller:
    """The hook ``name``, calling this one plugin only."""
    return manager.subset_hook_caller(name, [other for other in manager.get_plugins() if other is not module])


def _add_method(method: Any, registry: Registry, found: _Found) -> None:
    if not isinstance(method, Method) or not method.stages:
        raise PluginError(f"methods() returned {method!r}", "return Method objects with at least one stage")
    if method.name in found.methods:
        raise PluginError(f"a method named {method.name!r} is there already", "give it another name")
    for kind, root in method.choices.items():
        registry.add_kind(kind, root)
    found.methods[method.name] = method
