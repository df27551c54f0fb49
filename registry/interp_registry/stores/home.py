"""Where everything lies on this machine: ``INTERP_HOME``, else the user's configuration, else the platform's data folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from interp_registry.errors import UsageError
from interp_registry.user_config import user_config

__all__ = ["Layout", "home", "layout"]


@dataclass(frozen=True)
class Layout:
    """The folders below the home; none is made before something is written there.

    Attributes:
        root: The home.
        store: Features and token-level activations.
        runs: One folder per run.
        launches: One folder per launch.
        cache: What can be made again: rendered data, neighbour tables, pretrained targets.
    """

    root: Path

    @property
    def store(self) -> Path:
        """Features and token-level activations."""
        return self.root / "store"

    @property
    def runs(self) -> Path:
        """One folder per run."""
        return self.root / "runs"

    @property
    def launches(self) -> Path:
        """One folder per launch."""
        return self.root / "launches"

    @property
    def cache(self) -> Path:
        """What can be made again."""
        return self.root / "cache"


def home() -> Path:
    """The home folder, absolute; it need not exist yet.

    ``INTERP_HOME`` if set, else ``home:`` of the user's configuration file, else ``interp`` in the platform's data folder
    (``$XDG_DATA_HOME`` or ``~/.local/share`` on Linux).

    Raises:
        UsageError: It is named and is not a folder.
    """
    explicit = os.environ.get("INTERP_HOME")
    configured = Path(explicit) if explicit else user_config().home
    if configured is None:
        import platformdirs

        return platformdirs.user_data_path("interp", appauthor=False)
    return _folder(configured, "INTERP_HOME" if explicit else "home in the user configuration")


def layout(root: Path | None = None) -> Layout:
    """The folders below ``root``, or below :func:`home`.

    Raises:
        UsageError: It is no folder.
    """
    return Layout(home() if root is None else _folder(root, "--out"))


def _folder(path: Path, source: str) -> Path:
    path = path.expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise UsageError(f"{source} is {path}, which is no folder", "name a folder; it is made when needed")
    return path
