"""Named sets that ship as YAML: model sets, data sets, experiments, sweeps.

A catalog is a list of folders; ``<folder>/<section>/<name>.yaml`` is the entry ``name`` of ``section`` (sub-folders become part of
the name: ``experiments/spd/tms_5-2.yaml`` is ``spd/tms_5-2`` of ``experiments``). Earlier folders win, the user's own first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp_registry.config_io.yaml_files import merge, read_layers
from interp_registry.errors import ConfigError, UnknownNameError

__all__ = ["Catalog"]


@dataclass(frozen=True)
class Catalog:
    """Entries found in folders of YAML files.

    Attributes:
        folders: Where to look, highest precedence first.
    """

    folders: tuple[Path, ...]

    def sections(self) -> list[str]:
        """Sorted names of the sections that have an entry."""
        return sorted({p.name for folder in self.folders if folder.is_dir() for p in folder.iterdir() if p.is_dir()})

    def names(self, section: str) -> list[str]:
        """Sorted names of the entries of a section."""
        found: set[str] = set()
        for folder in self.folders:
            root = folder / section
            found |= {str(path.relative_to(root).with_suffix("")) for path in root.glob("**/*.yaml")}
        return sorted(found)

    def path(self, section: str, name: str) -> Path:
        """The file of an entry.

        Raises:
            UnknownNameError: There is no such entry; similar names are suggested.
        """
        if name in self.names(section):
            for folder in self.folders:
                path = folder / section / f"{name}.yaml"
                if path.is_file():
                    return path
        raise UnknownNameError(f"entry of {section}", name, self.names(section))

    def get(self, section: str, name: str) -> dict[str, Any]:
        """An entry's content, with its ``base:`` files merged in."""
        content: dict[str, Any] = {}
        for _, layer in read_layers(self.path(section, name)):
            content = merge(content, layer)
        return content

    def modelset(self, name: str) -> dict[str, list[str]]:
        """The models of a set, by modality.

        Raises:
            ConfigError: A modality does not hold a list of names.
        """
        content = self.get("modelsets", name)
        for modality, models in content.items():
            if models is not None and not (isinstance(models, list) and all(isinstance(one, str) for one in models)):
                raise ConfigError(
                    f"{models!r} is no list of models", f"{name}.{modality}", f"mend {self.path('modelsets', name)}"
                )
        return {modality: models or [] for modality, models in content.items()}

    def matching(self, section: str, prefix: str) -> Sequence[str]:
        """Names of a section that begin with ``prefix``, for completion."""
        return [name for name in self.names(section) if name.startswith(prefix)]
