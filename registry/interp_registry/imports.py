"""Import what a string names, when it is needed."""

import importlib
from typing import Any

from interp_registry.errors import PluginError

__all__ = ["load_attribute"]


def load_attribute(path: str) -> Any:
    """Import ``"package.module:attribute"``.

    Raises:
        PluginError: The path is malformed, there is no such module, or the module has no such attribute.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise PluginError(f"{path!r} is no import path", "write it as 'package.module:attribute'")
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as err:
        if err.name is None or not f"{module}.".startswith(f"{err.name}."):
            raise  # the module is there, and something that it imports is not
        raise PluginError(f"there is no module {err.name!r}, which a plugin names in {path!r}") from err
    try:
        return getattr(imported, name)
    except AttributeError as err:
        raise PluginError(f"{module} has no attribute {name!r}") from err
