"""Which plugin an error came from: a stranger's mistake is not reported as one of this tool."""

import traceback
from pathlib import Path

from interp_registry.discovery import FIRST_PARTY, Plugins, discover
from interp_registry.errors import UnknownNameError

__all__ = ["culprit", "left_out"]

_GIVEN_BY_PLUGINS = ("command", "method", "metric", "model", "data set", "loss", "lens", "tracker", "launcher")


def culprit(error: BaseException) -> str | None:
    """The third party's plugin whose code was at work when an error was raised, and where; None when none was."""
    owners = _modules(discover())
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        owner = owners.get(str(frame.f_globals.get("__name__", "")).partition(".")[0])
        if owner is not None:
            code = frame.f_code
            return f"plugin {owner!r}, {code.co_qualname} ({Path(code.co_filename).name}, line {line})"
    return None


def left_out(error: UnknownNameError) -> str | None:
    """Which third parties' plugins could not be loaded, where an unknown name may be one that they give; None otherwise."""
    if error.kind not in _GIVEN_BY_PLUGINS and not error.kind.endswith((" type", " model")):
        return None
    failed = [info.name for info in discover().failed]
    return f"{', '.join(failed)} could not be loaded: interp plugins list" if failed else None


def _modules(plugins: Plugins) -> dict[str, str]:
    """Top-level modules that third parties' entry points and choices name -> plugin."""
    points = {info.name: info.module for info in plugins.infos}
    named = list(points.items())
    for _, _, owner, config in plugins.registry.entries():
        named += [(owner, config.__module__), (owner, str(getattr(config, "impl", "")))]
    strangers = [(name, path) for name, path in named if path and not points.get(name, "").startswith(FIRST_PARTY)]
    return {path.replace(":", ".").partition(".")[0]: name for name, path in strangers}
