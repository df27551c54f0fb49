"""A folder of tables of one kind: list them, and find one by its key or by what was asked for."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from interp_registry.errors import CorruptError, UnknownNameError, UsageError
from interp_registry.stores.tables import MANIFEST, Table

__all__ = ["TableStore"]

_LOG = logging.getLogger(__name__)
T = TypeVar("T", bound=Table)


class TableStore(Generic[T]):
    """All tables of one kind below a store's root.

    Args:
        root: Root of the store; the tables lie in the folder that is named after their kind.
        table: Their class.
    """

    def __init__(self, root: Path, table: type[T]) -> None:
        self.root = root
        self._table = table

    @property
    def folder(self) -> Path:
        """Where the entries lie."""
        return self.root / self._table.kind

    def at(self, key: str) -> T | None:
        """The entry of exactly this key, complete or not; None when nothing was planned."""
        path = self.folder / key
        return self._table(path) if (path / MANIFEST).exists() else None

    def keys(self) -> list[str]:
        """Keys of all entries, sorted."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if (path / MANIFEST).exists())

    def entries(self) -> Iterator[T]:
        """All entries; one whose manifest is corrupt is left out with a warning that names it."""
        for key in self.keys():
            try:
                yield self._table(self.folder / key)
            except CorruptError as err:
                _LOG.warning("%s", err)

    def get(self, key: str) -> T:
        """An entry by its key or an unmistakable beginning of it.

        Raises:
            UnknownNameError: No key begins like this.
            UsageError: Several do.
        """
        known = self.keys()
        matches = [key] if key in known else [name for name in known if key and name.startswith(key)]
        if not matches:
            raise UnknownNameError(f"key of {self._table.kind}", key, known, str(self.folder))
        if len(matches) > 1:
            raise UsageError(f"the key {key!r} could be {', '.join(matches[:8])}", "write more of it")
        return self._table(self.folder / matches[0])
