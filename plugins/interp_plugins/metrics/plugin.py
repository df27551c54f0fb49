"""Registers the metrics."""

from typing import TYPE_CHECKING

import interp_registry

if TYPE_CHECKING:
    from interp_registry.choices import Registry

__all__ = ["register"]


@interp_registry.hookimpl
def register(registry: "Registry") -> None:
    """Add every metric that ships with the tool."""
    from interp_plugins.metrics import config

    registry.add("metric", "mutual_knn", config.MutualKnnConfig)
    registry.add("metric", "cycle_knn", config.CycleKnnConfig)
    registry.add("metric", "lcs_knn", config.LcsKnnConfig)
    registry.add("metric", "edit_distance_knn", config.EditDistanceKnnConfig)
    registry.add("metric", "cka", config.CkaConfig)
    registry.add("metric", "unbiased_cka", config.UnbiasedCkaConfig)
    registry.add("metric", "cknna", config.CknnaConfig)
    registry.add("metric", "svcca", config.SvccaConfig)
