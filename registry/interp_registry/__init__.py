"""The whole API of a plugin author: contracts, hooks, choices, errors, stores and shared tensor code.

Importing this package loads nothing else; each name is imported when it is first used, so that a plugin that only declares its
commands costs next to nothing at start-up.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp_registry.choices import (
        DatasetConfig,
        EvaluatorConfig,
        LauncherConfig,
        LossConfig,
        MetricConfig,
        ModelConfig,
        Registry,
        TrackerConfig,
    )
    from interp_registry.contracts.method import Cost, Failure, Method, Result, RunContext, Stage
    from interp_registry.discovery import PluginInfo, Plugins, discover
    from interp_registry.errors import InterpError, UsageError
    from interp_registry.hookspecs import API_VERSION, hookimpl

__all__ = [
    "API_VERSION",
    "Cost",
    "DatasetConfig",
    "EvaluatorConfig",
    "Failure",
    "InterpError",
    "LauncherConfig",
    "LossConfig",
    "Method",
    "MetricConfig",
    "ModelConfig",
    "PluginInfo",
    "Plugins",
    "Registry",
    "Result",
    "RunContext",
    "Stage",
    "TrackerConfig",
    "UsageError",
    "discover",
    "hookimpl",
]

_MODULES = {
    **dict.fromkeys(("Cost", "Failure", "Method", "Result", "RunContext", "Stage"), "contracts.method"),
    **dict.fromkeys(("PluginInfo", "Plugins", "discover"), "discovery"),
    **dict.fromkeys(("InterpError", "UsageError"), "errors"),
    **dict.fromkeys(("API_VERSION", "hookimpl"), "hookspecs"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'interp_registry' has no attribute {name!r}")
    module = importlib.import_module(f"interp_registry.{_MODULES.get(name, 'choices')}")
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
