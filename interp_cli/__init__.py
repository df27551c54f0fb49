"""Look inside neural networks, from Python: ``import interp_cli as interp``.

Public names come from the methods that are installed (``interp.align``, ``interp.extract``, ...) and are resolved when first used,
so importing this package loads neither torch nor any of its friends. ``dir(interp)`` lists them.
"""

from pathlib import Path
from typing import Any

__version__: str

__all__ = ["__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("interp-cli")
    if name.startswith("_") or _is_submodule(name):
        raise AttributeError(name)
    from interp_registry.discovery import discover
    from interp_registry.errors import near_names
    from interp_registry.imports import load_attribute

    api = discover().api()
    if name not in api:
        near = near_names(name, api)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise AttributeError(f"module 'interp_cli' has no attribute {name!r}{hint}")
    value = load_attribute(api[name])
    globals()[name] = value
    return value


def _is_submodule(name: str) -> bool:
    """Importing a submodule looks here first; discovery must not run for that."""
    here = Path(__file__).parent
    return (here / f"{name}.py").is_file() or (here / name).is_dir()


def __dir__() -> list[str]:
    from interp_registry.discovery import discover

    return sorted({*__all__, *discover().api()})
