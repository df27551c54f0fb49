"""Import what a string names, when it is needed."""

import importlib
from typing import Any

from interp_registry.errors import PluginError

__all__ = ["load_attribute"]


def load_attribute(path: str) -> Any:
    """Import ``"package.module:attribute"``.

    Raises:
        PluginError: The path is malformed, or the module has no such attribute.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise PluginError(f"{path!r} is no import path", "write it as 'package.module:attribute'")
    imported = importlib.import_module(module)
    try:
        return getattr(imported, name)
    except AttributeError as err:
        raise PluginError(f"{module} has no attribute {name!r}") from err
