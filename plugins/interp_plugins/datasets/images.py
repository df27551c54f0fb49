"""Images in folders."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from interp_plugins.datasets.config import ImageFolderConfig
from interp_plugins.datasets.paths import IMAGE_ENDINGS, inside, open_image, readable
from interp_plugins.datasets.sides import SidedDataset
from interp_plugins.datasets.tables import file_digest, read_rows, unknown_column
from interp_registry.contracts.data import SampleModality
from interp_registry.errors import DataError

__all__ = ["ImageFolder"]


class ImageFolder(SidedDataset):
    """Images below a folder in the order of their paths, or those that its ``metadata.jsonl`` lists, with captions.

    The metadata has one object per line with ``file_name`` and, if captions are wanted, ``text`` (one or a list) and
    ``origin``. Another file given as ``captions`` takes its place; its rows may leave out ``file_name``.

    Args:
        config: Which folder.

    Raises:
        DataError: The folder has no image, or its metadata is wrong.
        UnknownNameError: The file of captions has no such column.
    """

    def __init__(self, config: ImageFolderConfig) -> None:
        self.root = config.path
        self.name = config.path.resolve().name
        self._text = config.text
        metadata = config.captions or self.root / "metadata.jsonl"
        self._rows = _rows_of(metadata) if metadata.is_file() or config.captions else []
        if config.captions and self._text not in self._rows[0]:
            raise unknown_column(self._text, list(self._rows[0]), metadata, "FOLDER:captions=FILE,text=COLUMN")
        if self._rows and ("file_name" in self._rows[0] or not config.captions):
            self._files = [self._named(row, number, metadata) for number, row in enumerate(self._rows, start=1)]
        else:
            found = (path for path in self.root.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())
            self._files = sorted(found, key=lambda path: path.relative_to(self.root).as_posix())
        if not self._files:
            raise DataError(f"{self.root} has no images", f"known endings: {', '.join(sorted(IMAGE_ENDINGS))}")
        if self._rows and len(self._rows) != len(self._files):
            counts = f"{self.root} has {len(self._files)} images and {metadata} {len(self._rows)} rows"
            raise DataError(counts, "give each row the path of its image within the folder, as 'file_name'")
        self._check_order(metadata)
        captioned = bool(self._rows) and all(self._text in row for row in self._rows)
        kinds: set[SampleModality] = {"vision", "language"} if captioned else {"vision"}
        self.modalities = frozenset(kinds)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def fingerprint(self) -> str:
        """Digest of the names and bytes of all images, and of the metadata."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in self._files:
            digest.update(json.dumps([self._relative(path), file_digest(path)]).encode())
        digest.update(json.dumps(self._rows, sort_keys=True, default=str).encode())
        return digest.hexdigest()

    def image(self, index: int) -> Image.Image:
        """An image."""
        return open_image(self._files[index])

    def key(self, index: int) -> str:
        """Path of an image within the folder."""
        return self._relative(self._files[index])

    def _named(self, row: dict[str, Any], number: int, metadata: Path) -> Path:
        if not isinstance(row.get("file_name"), str):
            raise DataError(f"{metadata}, row {number}: no 'file_name'")
        path = inside(self.root, row["file_name"])
        if not path.is_file():
            raise DataError(f"{metadata}, row {number}: there is no image {row['file_name']!r}")
        return path

    def _check_order(self, metadata: Path) -> None:
        """Refuse rows that are paired with images by their order when one of their columns names the images in another order.

        Raises:
            DataError: They would get captions of others.
        """
        images = [(self._relative(path), path.name, path.stem) for path in self._files]
        every = {name for names in images for name in names}
        for column in self._rows[0] if self._rows and "file_name" not in self._rows[0] else ():
            values = [row.get(column) for row in self._rows]
            if not all(isinstance(value, str) and value in every for value in values):
                continue
            for number, (value, names) in enumerate(zip(values, images, strict=True), start=1):
                if value not in names:
                    raise DataError(
                        f"{metadata}, row {number}: column {column!r} says {value!r}, but the image in its place is {names[0]!r}",
                        f"call the column {column!r} 'file_name', and images are found by it",
                    )

    def _relative(self, path: Path) -> str:
        # an image may be a link to elsewhere: what it is called here counts
        root = self.root if path.is_relative_to(self.root) else self.root.resolve()
        return path.relative_to(root).as_posix()

    def captions_of(self, index: int) -> tuple[str, ...]:
        """All captions of an image, which is not opened.

        Raises:
            DataError: The metadata holds something else than a text, or texts.
        """
        value = self._rows[index][self._text] if "language" in self.modalities else []
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise DataError(f"{self.key(index)!r} in {self.root} has the caption {value!r:.60}, which is no text")
        return tuple(readable(text, self.key(index)) for text in texts)

    def origin(self, index: int) -> str:
        """Where an image comes from, as its metadata says."""
        return str(self._rows[index].get("origin", ""))


def _rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of a table.

    Raises:
        DataError: It is missing, of an unknown kind, malformed or empty.
    """
    rows = read_rows(path)
    if not rows and path.name != "metadata.jsonl":
        raise DataError(f"{path} has no rows")
    return rows
