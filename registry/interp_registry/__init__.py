"""The whole API of a plugin author: contracts, hooks, choices, errors, stores and shared tensor code.

Importing this package loads neither torch nor any of its friends.
"""

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
