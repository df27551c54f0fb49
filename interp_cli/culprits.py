"""Which plugin an error came from: a stranger's mistake is not reported as one of this tool."""

import traceback
from pathlib import Path

from interp_registry.discovery import FIRST_PARTY, Plugins, discover

__all__ = ["culprit"]


def culprit(error: BaseException) -> str | None:
    """The third party's plugin whose code was at work when an error was raised, and where; None when none was."""
    owners = _modules(discover())
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        owner = owners.get(str(frame.f_globals.get("__name__", "")).partition(".")[0])
        if owner is not None:
            code = frame.f_code
            return f"plugin {owner!r}, {code.co_qualname} ({Path(code.co_filename).name}, line {line})"
    return None


def _modules(plugins: Plugins) -> dict[str, str]:
    """Top-level modules that third parties' entry points and choices name -> plugin."""
    points = {info.name: info.module for info in plugins.infos}
    named = list(points.items())
    for _, _, owner, config in plugins.registry.entries():
        named += [(owner, config.__module__), (owner, str(getattr(config, "impl", "")))]
    strangers = [(name, path) for name, path in named if path and not points.get(name, "").startswith(FIRST_PARTY)]
    return {path.replace(":", ".").partition(".")[0]: name for name, path in strangers}
