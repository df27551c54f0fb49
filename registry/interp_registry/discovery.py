"""Find plugins through entry points and load each behind a guard, so that one that is broken cannot break the others.

pluggy's own loader stops at the first plugin that raises; so every entry point of the group ``interp`` is loaded here one by one.
What a plugin had registered before it failed is taken back, the reason is kept, and ``interp plugins list`` shows it.

It goes in two steps, because start-up is a feature: the modules are imported and asked for their methods, which is enough for
``interp --help``; their choices, which import configuration classes, are registered when first needed.
"""

import dataclasses
import functools
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from interp_registry.contracts.method import Method
from interp_registry.errors import InterruptedRunError, PluginError
from interp_registry.hookspecs import API_VERSION, PROJECT, InterpHooks
from interp_registry.imports import load_attribute
from interp_registry.patience import said_when_slow

if TYPE_CHECKING:
    from interp_registry.choices import Registry

__all__ = ["GROUP", "PluginInfo", "Plugins", "discover", "find_plugins", "load_plugins", "loading"]

GROUP = "interp"
FIRST_PARTY = "interp_plugins"


@dataclass(frozen=True)
class PluginInfo:
    """One entry point and what became of it.

    Attributes:
        point: The entry point.
        status: "loaded", "failed" or "blocked".
        milliseconds: Wall time of loading it and running its hooks.
        error: Why it failed, in one line.
        trace: The traceback, for ``interp plugins show``.
        methods: Names of the methods it brings.
    """

    point: EntryPoint
    status: str
    milliseconds: float = 0.0
    error: str | None = None
    trace: str | None = None
    methods: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the entry point."""
        return self.point.name

    @property
    def module(self) -> str:
        """The module that it names."""
        return self.point.value

    @property
    def distribution(self) -> str:
        """Name and version of the distribution that brought it (reading them parses its metadata)."""
        return f"{self.point.dist.name} {self.point.dist.version}" if self.point.dist else "?"


@dataclass(frozen=True)
class Plugins:
    """Everything that discovery found.

    Attributes:
        infos: One row per entry point, first-party ones first.
        methods: Methods by name.
        commands: Functions that add plain commands to the typer app, with the plugin's name.
        config_folders: Folders of YAML that plugins ship.
        modules: The modules that were loaded, by plugin.
        choices: The registry of all choices, frozen; None before they were registered.
    """

    infos: tuple[PluginInfo, ...]
    methods: dict[str, Method]
    commands: tuple[tuple[str, Callable[..., None]], ...]
    config_folders: tuple[Path, ...]
    modules: dict[str, tuple[pluggy.PluginManager, ModuleType]]
    choices: "Registry | None" = None

    @property
    def failed(self) -> tuple[PluginInfo, ...]:
        """The plugins that could not be loaded."""
        return tuple(info for info in self.infos if info.status == "failed")

    @property
    def registry(self) -> "Registry":
        """All choices.

        Raises:
            PluginError: Only the methods were looked for.
        """
        if self.choices is None:
            raise PluginError("choices are not registered yet", "use discover() and not find_plugins()")
        return self.choices

    def api(self) -> dict[str, str]:
        """Public Python names of all methods -> import path."""
        return {name: path for method in self.methods.values() for name, path in method.api.items()}


@dataclass
class _Found:
    methods: dict[str, Method] = field(default_factory=dict)
    commands: list[tuple[str, Callable[..., None]]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    modules: dict[str, tuple[pluggy.PluginManager, ModuleType]] = field(default_factory=dict)

    def copy(self) -> "_Found":
        return _Found(dict(self.methods), list(self.commands), list(self.folders), dict(self.modules))


@functools.cache
def find_plugins() -> Plugins:
    """Import all installed plugins and ask for their methods, once per process; choices are not registered yet.

    ``INTERP_BLOCK_PLUGINS=a,b`` leaves out plugins by name; ``INTERP_PLUGINS=`` (set and empty) leaves out all third
    parties.
    """
    blocked = {name.strip() for name in os.environ.get("INTERP_BLOCK_PLUGINS", "").split(",") if name.strip()}
    points = list(entry_points(group=GROUP))
    if os.environ.get("INTERP_PLUGINS") == "":
        points = [point for point in points if _is_first_party(point)]
    return _import_plugins(points, blocked | _blocked_by_user())


@functools.cache
def discover() -> Plugins:
    """Load all installed plugins and register their choices, once per process."""
    return _register_choices(find_plugins())


def _blocked_by_user() -> set[str]:
    from interp_registry.user_config import user_config, user_config_path

    return set(user_config().blocked_plugins) if user_config_path().is_file() else set()


def load_plugins(points: Iterable[EntryPoint], blocked: set[str] | None = None) -> Plugins:
    """Load the given entry points, first-party ones first, then by name, and register their choices.

    Args:
        points: Entry points of the group ``interp``.
        blocked: Names that are left out.
    """
    return _register_choices(_import_plugins(points, blocked or set()))


def _is_first_party(point: EntryPoint) -> bool:
    return point.value.split(".")[0] == FIRST_PARTY


def _import_plugins(points: Iterable[EntryPoint], blocked: set[str]) -> Plugins:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(InterpHooks)
    found = _Found()
    infos: list[PluginInfo] = []
    for point in sorted(points, key=lambda p: (not _is_first_party(p), p.name)):
        if point.name in blocked:
            infos.append(PluginInfo(point, "blocked"))
            continue
        before = found.copy()
        info = _guarded(PluginInfo(point, "loaded"), functools.partial(_load, point, manager, found))
        if info.status == "failed":
            found = before
            if manager.has_plugin(point.name):
                manager.unregister(name=point.name)
        mine = tuple(name for name in found.methods if name not in before.methods)
        infos.append(dataclasses.replace(info, methods=mine))
    return Plugins(tuple(infos), found.methods, tuple(found.commands), tuple(found.folders), found.modules)


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Name the plugin whose code runs inside the block when that takes long, or when Ctrl-C ends it.

    Raises:
        InterruptedRunError: In place of KeyboardInterrupt.
    """
    advice = (
        f"INTERP_BLOCK_PLUGINS={name} leaves it out, `INTERP_BLOCK_PLUGINS={name} interp plugins block {name}` for good"
    )
    with said_when_slow(f"plugin {name!r} is being loaded", f"Ctrl-C ends the waiting, {advice}"):
        try:
            yield
        except KeyboardInterrupt as err:
            raise InterruptedRunError(signal.SIGINT, f"plugin {name!r} was being loaded: {advice}") from err


def _guarded(info: PluginInfo, action: Callable[[], None]) -> PluginInfo:
    """Carry out a step of loading; the row of the plugin with the time it took, or with why it failed."""
    start = time.perf_counter()
    try:
        with nullcontext() if _is_first_party(info.point) else loading(info.name):
            action()
    except (InterruptedRunError, KeyboardInterrupt):
        raise
    except BaseException as err:  # noqa: BLE001 - a stranger's code may raise anything; the others must go on
        import traceback

        reason = f"{type(err).__name__}: {err}".splitlines()[0]
        info = dataclasses.replace(info, status="failed", error=reason, trace=traceback.format_exc())
    return dataclasses.replace(info, milliseconds=info.milliseconds + 1e3 * (time.perf_counter() - start))


def _load(point: EntryPoint, manager: pluggy.PluginManager, found: _Found) -> None:
    module = point.load()
    wanted = getattr(module, "INTERP_API", API_VERSION)
    if wanted != API_VERSION:
        raise PluginError(f"written for plugin API {wanted}, this is {API_VERSION}", "install a matching version of it")
    manager.register(module, name=point.name)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        hooks = ", ".join(sorted(name for name in vars(InterpHooks) if not name.startswith("_")))
        raise PluginError(f"{module.__name__} implements no hook", f"mark one of {hooks} with @hookimpl")
    for batch in _hook(manager, module, "methods")():
        for method in batch:
            _add_method(method, found)
    commands = _hook(manager, module, "commands")
    if commands.get_hookimpls():
        found.commands.append((point.name, commands))
    found.folders.extend(Path(folder) for batch in _hook(manager, module, "configs")() for folder in batch)
    found.modules[point.name] = (manager, module)


def _hook(manager: pluggy.PluginManager, module: ModuleType, name: str) -> pluggy.HookCaller:
    """The hook ``name``, calling this one plugin only."""
    return manager.subset_hook_caller(name, [other for other in manager.get_plugins() if other is not module])


def _add_method(method: Any, found: _Found) -> None:
    if not isinstance(method, Method) or not method.stages:
        raise PluginError(f"methods() returned {method!r}", "return Method objects with at least one stage")
    if method.name in found.methods:
        raise PluginError(f"a method named {method.name!r} is there already", "give it another name")
    found.methods[method.name] = method


def _register_choices(plugins: Plugins) -> Plugins:
    from interp_registry.choices import Registry

    registry = Registry()
    infos: list[PluginInfo] = []
    methods = dict(plugins.methods)
    for info in plugins.infos:
        if info.status != "loaded":
            infos.append(info)
            continue
        roll_back = registry.begin(info.name)
        mine = [methods[name] for name in info.methods]
        manager, module = plugins.modules[info.name]
        after = _guarded(info, functools.partial(_register, manager, module, mine, registry))
        if after.status == "failed":
            roll_back()
            methods = {name: method for name, method in methods.items() if name not in info.methods}
        infos.append(after)
    registry.freeze()
    broken = {info.name for info in infos if info.status == "failed"}
    commands = tuple(pair for pair in plugins.commands if pair[0] not in broken)
    return dataclasses.replace(plugins, infos=tuple(infos), methods=methods, commands=commands, choices=registry)


def _register(manager: pluggy.PluginManager, module: ModuleType, methods: list[Method], registry: "Registry") -> None:
    for method in methods:
        for kind, root in method.choices.items():
            registry.add_kind(kind, load_attribute(root) if isinstance(root, str) else root)
    _hook(manager, module, "register")(registry=registry)
