"""Where the tool's own data lies: the shipped configurations, in a wheel and in an editable install."""

from pathlib import Path

import interp_cli
from interp_registry.catalog import Catalog
from interp_registry.discovery import Plugins
from interp_registry.user_config import user_config_path

__all__ = ["catalog", "configs_dir"]


def configs_dir() -> Path:
    """Folder of the shipped YAML files.

    A wheel carries it inside the package; an editable install does not see it there, so the repository's is taken.
    """
    package = Path(interp_cli.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def catalog(plugins: Plugins) -> Catalog:
    """The catalog of the user's own entries, the shipped ones, and those of plugins."""
    own = user_config_path().parent / "catalog"
    return Catalog((own, configs_dir(), *plugins.config_folders))
