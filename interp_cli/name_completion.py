"""Names that completion offers: runs, launches, plugins, methods, entries of the catalog. All are read, nothing is imported for them."""

from collections.abc import Callable

from interp_registry.stores.home import layout

__all__ = [
    "SOURCES",
    "catalog_entries",
    "launch_names",
    "method_names",
    "plugin_names",
    "run_names",
    "runs_and_launches",
]

_LATEST = 40


def _latest(names: list[str]) -> list[str]:
    """The latest of names that begin with a date, the newest first, and the word for the newest."""
    return ["last", *sorted(names, reverse=True)[:_LATEST]] if names else []


def _begun(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def run_names(incomplete: str = "") -> list[str]:
    """``last`` and the ids of the latest runs of the home folder."""
    return _begun(_latest([path.parent.name for path in layout().runs.glob("[!.]*/record.json")]), incomplete)


def launch_names(incomplete: str = "") -> list[str]:
    """``last`` and the ids of the latest launches of the home folder."""
    return _begun(_latest([path.parent.name for path in layout().launches.glob("*/launch.json")]), incomplete)


def runs_and_launches(incomplete: str = "") -> list[str]:
    """What ``watch`` and ``report`` take."""
    return list(dict.fromkeys([*run_names(incomplete), *launch_names(incomplete)]))


def plugin_names(incomplete: str = "") -> list[str]:
    """Names of the installed plugins."""
    from interp_registry.discovery import find_plugins

    return _begun([info.name for info in find_plugins().infos], incomplete)


def method_names(incomplete: str = "") -> list[str]:
    """Names of the methods."""
    from interp_registry.discovery import find_plugins

    return _begun(list(find_plugins().methods), incomplete)


def catalog_entries(section: str) -> list[str]:
    """Names of a section of the catalog (``modelsets``), or of a part of one without its name (``experiments/spd``)."""
    from interp_cli.paths import catalog
    from interp_registry.discovery import find_plugins

    name, _, part = section.partition("/")
    entries = catalog(find_plugins()).names(name)
    return [entry.removeprefix(f"{part}/") for entry in entries if not part or entry.startswith(f"{part}/")]


SOURCES: dict[str, Callable[[], list[str]]] = {"runs": run_names, "launches": launch_names}
"""Names that a field's ``complete`` may say, beside kinds of choices, functions and sections of the catalog."""
