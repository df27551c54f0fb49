"""Kinds of choices and the registry that plugins add them to.

Each kind is a draccus ``ChoiceRegistry``: a configuration field typed with the root class takes any registered name as its
``type`` and that choice's own fields beside it. The roots are filled at discovery and frozen afterwards.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import draccus

from interp_registry.errors import PluginError, UnknownNameError
from interp_registry.imports import load_attribute

__all__ = [
    "KINDS",
    "ChoiceConfig",
    "DatasetConfig",
    "EvaluatorConfig",
    "LauncherConfig",
    "LossConfig",
    "MetricConfig",
    "ModelConfig",
    "Registry",
    "TrackerConfig",
    "choice_names",
]


class ChoiceConfig:
    """Mixed into every root: plain data now, the implementation imported when it is built.

    A root derives from this *and* from ``draccus.ChoiceRegistry`` directly: draccus takes only direct subclasses as choices.
    """

    impl: ClassVar[str] = ""

    @classmethod
    def claim(cls, text: str) -> Mapping[str, Any] | None:  # noqa: ARG003 - most choices claim nothing
        """Fields of this choice for a text that is no registered name, e.g. the path of a file that it reads; None for any other."""
        return None

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Import ``impl`` and call it with this configuration (and what the caller adds).

        Raises:
            PluginError: ``impl`` is not set or cannot be imported.
        """
        if not self.impl:
            raise PluginError(f"{type(self).__name__} sets no `impl`")
        return load_attribute(self.impl)(self, *args, **kwargs)


@dataclass
class ModelConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A model: how to load it. ``build()`` gives an `interp_registry.contracts.model.Model`."""


@dataclass
class DatasetConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A data set. ``build()`` gives an `interp_registry.contracts.data.Dataset`."""


@dataclass
class MetricConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A representational similarity metric. ``build()`` gives an `interp_registry.contracts.metric.Metric`."""


@dataclass
class LossConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A differentiable loss. ``build()`` gives a callable on tensors that returns a scalar tensor."""


@dataclass
class EvaluatorConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """An evaluation that turns a trained or loaded object into scalars and figures."""


@dataclass
class TrackerConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """An experiment tracker. ``build()`` gives an `interp_registry.contracts.tracker.Tracker`."""


@dataclass
class LauncherConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A way to start tasks elsewhere. ``build()`` gives an `interp_registry.contracts.launcher.Launcher`."""


KINDS: Mapping[str, type[draccus.ChoiceRegistry]] = {
    "model": ModelConfig,
    "dataset": DatasetConfig,
    "metric": MetricConfig,
    "loss": LossConfig,
    "evaluator": EvaluatorConfig,
    "tracker": TrackerConfig,
    "launcher": LauncherConfig,
}


def choice_names(root: type[draccus.ChoiceRegistry]) -> list[str]:
    """Sorted names that a choice field of type ``root`` accepts, without the qualified ``plugin/name`` spellings."""
    return sorted(name for name in root.get_known_choices() if "/" not in name)


class Registry:
    """What a plugin's ``register`` hook receives; it remembers who added what, so that a failed plugin can be undone.

    The first plugin to add a short name keeps it (first-party plugins come first, then alphabetical order). The loser of a
    collision is still reachable as ``plugin/name``, and so is every choice.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, type[draccus.ChoiceRegistry]] = dict(KINDS)
        self._plugin = "?"
        self._frozen = False
        self._added: list[tuple[str, str, str, type]] = []
        self._collisions: list[tuple[str, str, str, str]] = []

    @property
    def collisions(self) -> list[tuple[str, str, str, str]]:
        """Rows (kind, short name, plugin that owns it, plugin whose choice is only ``plugin/name``)."""
        return list(self._collisions)

    def kinds(self) -> Mapping[str, type[draccus.ChoiceRegistry]]:
        """All kinds: the built-in ones and those that methods declare in ``choices``."""
        return dict(self._kinds)

    def add_kind(self, kind: str, root: type[draccus.ChoiceRegistry]) -> None:
        """Declare a further kind of choice (a method's own registry).

        Raises:
            PluginError: Another class already has that kind, or ``root`` is no direct subclass of ``ChoiceRegistry``.
        """
        if self._kinds.get(kind, root) is not root:
            raise PluginError(f"the kind {kind!r} belongs to {self._kinds[kind].__qualname__} already")
        given: Any = root  # a stranger may hand over anything
        if not (isinstance(given, type) and issubclass(given, draccus.ChoiceRegistry)):
            raise PluginError(f"{root!r} is no draccus.ChoiceRegistry and cannot hold choices")
        self._kinds[kind] = root

    def add(self, kind: str, name: str, config: type) -> None:
        """Register a configuration class under ``name``.

        Args:
            kind: "model", "dataset", "metric", "loss", "evaluator", "tracker", "launcher" or a method's own kind.
            name: Short name, as users write it.
            config: A dataclass that derives from the kind's root.

        Raises:
            UnknownNameError: No such kind.
            PluginError: The class is no dataclass of that kind, has a field named ``type``, or the name has a slash.
        """
        if self._frozen:
            raise PluginError(f"{kind} {name!r} was added after discovery", "add it in the `register` hook")
        if kind not in self._kinds:
            raise UnknownNameError("kind of choice", kind, self._kinds)
        root = self._kinds[kind]
        _check_choice(kind, name, config, root)
        known = root.get_known_choices()
        owner = next((p for k, n, p, _ in self._added if (k, n) == (kind, name)), None)
        if name in known and known[name] is not config:
            self._collisions.append((kind, name, owner or "built in", self._plugin))
        else:
            known.setdefault(name, config)
            self._added.append((kind, name, self._plugin, config))
        known[f"{self._plugin}/{name}"] = config

    def entries(self) -> Iterator[tuple[str, str, str, type]]:
        """Rows (kind, short name, plugin, configuration class) in order of registration."""
        yield from self._added

    def begin(self, plugin: str) -> Callable[[], None]:
        """Name the plugin that adds from now on; the function returned undoes all that it added."""
        self._plugin = plugin
        kinds_before = dict(self._kinds)
        known_before = {root: dict(root.get_known_choices()) for root in self._kinds.values()}
        added, collisions = len(self._added), len(self._collisions)

        def roll_back() -> None:
            for root, known in known_before.items():
                live = root.get_known_choices()
                for name in set(live) - set(known):
                    del live[name]
            self._kinds = kinds_before
            del self._added[added:]
            del self._collisions[collisions:]

        return roll_back

    def freeze(self) -> None:
        """Refuse additions from now on."""
        self._frozen = True


def _check_choice(kind: str, name: str, config: Any, root: type) -> None:
    if "/" in name or not name.strip() or name != name.strip():
        raise PluginError(f"{name!r} cannot name a {kind}", "use letters, digits, '.', '_' and '-'")
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise PluginError(f"{kind} {name!r} is {config!r}", "register a dataclass")
    if not issubclass(config, root):
        raise PluginError(f"{kind} {name!r}: {config.__qualname__} does not derive from {root.__qualname__}")
    if any(field.name == "type" for field in dataclasses.fields(config)):
        raise PluginError(f"{kind} {name!r} has a field named 'type'", "that word is taken by the choice itself")
