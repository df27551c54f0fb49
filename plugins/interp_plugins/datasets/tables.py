"""Rows of JSONL, CSV, TSV and Parquet files."""

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from interp_plugins.datasets.config import TableConfig
from interp_plugins.datasets.paths import inside, open_image, readable
from interp_plugins.datasets.sides import SidedDataset
from interp_registry.contracts.data import SampleModality
from interp_registry.errors import DataError, UnknownNameError

__all__ = ["TableDataset", "file_digest", "read_rows", "unknown_column"]

_CHUNK = 1 << 22


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as err:
                raise DataError(f"{path}, line {number}: no JSON ({err})") from err
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: expected an object, found {type(row).__name__}")
            rows.append(row)
    return rows


def _read_delimited(path: Path) -> list[dict[str, Any]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows: list[dict[Any, Any]] = list(csv.DictReader(file, delimiter=delimiter))
        except csv.Error as err:
            raise DataError(f"{path} is no table: {err}") from err
    for number, row in enumerate(rows, start=1):
        if any(row.pop(None, ())):  # what a text with a comma loses silently
            raise DataError(
                f"{path}, row {number}: more cells than columns",
                f"columns are separated by {delimiter!r}: put texts that have it in double quotes",
            )
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{path} is no Parquet file: {err}") from err


_READERS: Mapping[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".parquet": _read_parquet,
}
"""Ending of a file -> function that reads its rows."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a table, column -> value.

    Raises:
        DataError: The file is missing, of an unknown kind, malformed or not in UTF-8.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no table", f"known endings: {', '.join(_READERS)}")
    if not path.is_file():
        raise DataError(f"there is no file {str(path)!r}")
    try:
        return reader(path)
    except UnicodeDecodeError as err:
        raise DataError(f"{path} is not UTF-8: {err}", "save it as UTF-8; spreadsheets offer 'CSV UTF-8'") from err


def unknown_column(name: str, columns: Sequence[str], path: Path, option: str) -> UnknownNameError:
    """The error about a column that a table does not have; ``option`` is what chooses another."""
    error = UnknownNameError("column", name, columns, str(path))
    if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
        error.hint = f"its only column is {columns[0]!r}: separate columns by commas in .csv, by tabs in .tsv files"
    else:
        error.hint = f"{error.hint} (choose with {option})"
    return error


class TableDataset(SidedDataset):
    """Rows of a file; the whole table is held in memory, images are opened when asked for.

    Args:
        config: Which file and columns.

    Raises:
        DataError: The file is missing, of an unknown kind, empty or malformed.
        UnknownNameError: It has no such column.
    """

    def __init__(self, config: TableConfig) -> None:
        self.config = config
        self.name = config.path.name
        self._rows = read_rows(config.path)
        if not self._rows:
            raise DataError(f"{config.path} has no rows")
        self.modalities = self._find_modalities()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def fingerprint(self) -> str:
        """Digest of the file, the columns used and, with images, their names and sizes."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        parts = [file_digest(self.config.path), self.config.text, self.config.image, self.config.key]
        if self.config.image is not None:
            parts += [f"{path.name}:{file_digest(path)}" for path in map(self._image_path, range(len(self)))]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def image(self, index: int) -> Image.Image:
        """The image of a row."""
        return open_image(self._image_path(index))

    def key(self, index: int) -> str:
        """Name of a row."""
        return str(index) if self.config.key is None else str(self._rows[index][self.config.key])

    def captions_of(self, index: int) -> tuple[str, ...]:
        """All texts of a row; its image is not opened.

        Raises:
            DataError: Its column of texts holds something else.
        """
        value = self._rows[index].get(self.config.text)
        if isinstance(value, str):
            return (readable(value, f"row {index} of {self.name}"),)
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return tuple(readable(text, f"row {index} of {self.name}") for text in value)
        raise DataError(f"row {index} of {self.name}: column {self.config.text!r} is {value!r}, not a text")

    def _image_path(self, index: int) -> Path:
        column = self.config.image
        if column is None:
            raise DataError(f"{self.name} has no image column", "name it: --dataset 'FILE:image=COLUMN'")
        return inside(self.config.path.parent, str(self._rows[index][column]))

    def _find_modalities(self) -> frozenset[SampleModality]:
        columns = list(self._rows[0])
        wanted = {"image": self.config.image, "key": self.config.key}
        has_text = self.config.text in columns
        if not has_text and self.config.image is None:
            wanted["text"] = self.config.text
        for option, name in wanted.items():
            if name is not None and name not in columns:
                raise unknown_column(name, columns, self.config.path, f"FILE:{option}=COLUMN")
        found: set[SampleModality] = {"language"} if has_text else set()
        if self.config.image is not None:
            found.add("vision")
        return frozenset(found)
