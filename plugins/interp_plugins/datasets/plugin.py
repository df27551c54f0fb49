"""The data sets of the tool."""

from typing import TYPE_CHECKING

from interp_registry import hookimpl

if TYPE_CHECKING:
    from interp_registry.choices import Registry

INTERP_API = 1


@hookimpl
def register(registry: "Registry") -> None:
    """Add files, folders, archives and the hub."""
    from interp_plugins.datasets.config import (
        HubDatasetConfig,
        ImageFolderConfig,
        PrhConfig,
        TableConfig,
        WebDatasetConfig,
    )

    registry.add("dataset", "table", TableConfig)
    registry.add("dataset", "images", ImageFolderConfig)
    registry.add("dataset", "webdataset", WebDatasetConfig)
    registry.add("dataset", "hub", HubDatasetConfig)
    registry.add("dataset", "prh", PrhConfig)
