"""Named experiments: from the catalog, from a file of ours, or from a published YAML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interp_plugins.methods.spd.config import DecomposeConfig
from interp_plugins.methods.spd.published import is_published, translate
from interp_registry.catalog import Catalog
from interp_registry.config_io import resolve
from interp_registry.config_io.yaml_files import merge, read_layers
from interp_registry.errors import UnknownNameError, UsageError

__all__ = ["experiment_names", "load_experiment", "named_experiments"]

_SECTION, _FOLDER, _TUNED = "experiments", "spd/", ".tuned"


def named_experiments(catalog: Catalog) -> list[str]:
    """Return the names of all experiments of the catalog."""
    names = [name.removeprefix(_FOLDER) for name in catalog.matching(_SECTION, _FOLDER)]
    return [name for name in names if not name.endswith(_TUNED)]


def experiment_names(asked: Sequence[str], catalog: Catalog) -> list[str]:
    """Return the experiments asked for: names or files, comma-separated; none, or "all", is every one.

    Raises:
        UnknownNameError: A name is not in the catalog and is no file.
    """
    names = [part.strip() for item in asked for part in item.split(",") if part.strip()]
    known = named_experiments(catalog)
    if not names or names == ["all"]:
        return known
    for name in names:
        if name not in known and not Path(name).is_file():
            raise UnknownNameError("experiment", name, known)
    return names


def load_experiment(
    name: str, catalog: Catalog, setting: str = "paper", changes: Mapping[str, Any] | None = None
) -> DecomposeConfig:
    """Return an experiment's configuration with some fields changed.

    Args:
        name: Name in the catalog, or a YAML file (ours or published).
        catalog: Where names are looked up.
        setting: ``paper``, or ``tuned`` for the later setting where there is one.
        changes: Fields to change; nested mappings are merged, a null removes a loss or metric.

    Raises:
        UsageError: The experiment has no tuned setting, or a value is wrong.
    """
    if Path(name).is_file():
        content = _file_content(Path(name))
    else:
        entry = f"{_FOLDER}{name}{_TUNED if setting == 'tuned' else ''}"
        if entry not in catalog.names(_SECTION):
            raise UsageError(f"the experiment {name!r} has no tuned setting", "leave --setting out")
        content = catalog.get(_SECTION, entry)
    content = merge(content, dict(changes or {}))
    for table in ("losses", "metrics", "components", "identities"):
        if isinstance(content.get(table), Mapping):
            content[table] = {key: value for key, value in content[table].items() if value is not None}
    return resolve(DecomposeConfig, [(name, content)]).config


def _file_content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for _, layer in read_layers(path):
        content = merge(content, layer)
    return translate(content, path.name) if is_published(content) else content
