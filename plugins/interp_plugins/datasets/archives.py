"""Tar archives in the WebDataset layout."""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from PIL import Image

from interp_plugins.datasets.config import WebDatasetConfig
from interp_plugins.datasets.paths import IMAGE_ENDINGS, decoded, open_image, readable
from interp_plugins.datasets.sides import SidedDataset
from interp_plugins.datasets.tables import file_digest
from interp_registry.contracts.data import SampleModality
from interp_registry.errors import DataError

__all__ = ["WebDataset"]

_LARGEST_MEMBER = 256 << 20


@dataclass
class _Entry:
    """Where the members of one sample lie: (archive, offset, size)."""

    key: str
    image: tuple[Path, int, int] | None = None
    text: tuple[Path, int, int] | None = None
    record: tuple[Path, int, int] | None = field(default=None)


class WebDataset(SidedDataset):
    """Samples of tar archives, read in place: nothing is unpacked, so no member's name is ever a path on disk.

    A sample's members share the name before the first dot of the file name: ``a/01.jpg``, ``a/01.txt``, ``a/01.json``
    (whose ``caption`` or ``text`` is used where there is no ``.txt``).

    Args:
        config: An archive, or a folder of archives (in the order of their names).

    Raises:
        DataError: No archive, a broken one, one with a member whose name leads out of it, or no sample in it.
    """

    def __init__(self, config: WebDatasetConfig) -> None:
        path = config.path
        self._archives = sorted(path.glob("*.tar")) if path.is_dir() else [path]
        self.name = path.name
        if not self._archives or not all(archive.is_file() for archive in self._archives):
            raise DataError(f"there is no tar archive at {str(path)!r}")
        self._entries = [entry for archive in self._archives for entry in _index(archive)]
        if not self._entries:
            raise DataError(f"{path} has no samples", "a sample is an image (.jpg, .png, ...), a .txt or a .json")
        kinds: set[SampleModality] = set()
        if all(entry.image for entry in self._entries):
            kinds.add("vision")
        if all(entry.text or entry.record for entry in self._entries):
            kinds.add("language")
        self.modalities = frozenset(kinds)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def fingerprint(self) -> str:
        """Digest of the archives' bytes, in order."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digests = [file_digest(archive) for archive in self._archives]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()

    def image(self, index: int) -> Image.Image:
        """The image of a sample."""
        entry = self._entries[index]
        if entry.image is None:
            raise DataError(f"sample {entry.key!r} has no image")
        return open_image(io.BytesIO(_read(entry.image)), entry.key)

    def key(self, index: int) -> str:
        """Name that the members of a sample share."""
        return self._entries[index].key

    def captions_of(self, index: int) -> tuple[str, ...]:
        """All texts of a sample; its image is not decoded.

        Raises:
            DataError: Its members hold something else.
        """
        entry = self._entries[index]
        if entry.text is not None:
            return (decoded(_read(entry.text), entry.key).strip(),)
        try:
            record = json.loads(_read(entry.record)) if entry.record is not None else {}
        except (ValueError, RecursionError) as err:
            raise DataError(f"sample {entry.key!r} has a .json that is none: {err}") from err
        value = record.get("caption", record.get("text", ())) if isinstance(record, dict) else None
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"sample {entry.key!r} has the caption {value!r:.60}, which is no text")
        return tuple(readable(text, entry.key) for text in texts)


def _read(place: tuple[Path, int, int]) -> bytes:
    path, offset, size = place
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _index(archive: Path) -> list[_Entry]:
    entries: dict[str, _Entry] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.isfile():
                    _add(entries, archive, member)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as err:
        raise DataError(
            f"{archive} is no tar archive that can be read in place: {err}", "unpack .tar.gz first"
        ) from err
    return list(entries.values())


def _add(entries: dict[str, _Entry], archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{archive} has a member {member.name!r}, which leads out of it")
    if not 0 <= member.size <= _LARGEST_MEMBER:
        raise DataError(f"{archive}: member {member.name!r} has {member.size} bytes, as no sample has")
    stem, _, ending = path.name.partition(".")
    key = str(path.parent / stem)
    place = (archive, member.offset_data, member.size)
    suffix = "." + ending.rpartition(".")[2].lower()
    if suffix in IMAGE_ENDINGS:
        entries.setdefault(key, _Entry(key)).image = place
    elif suffix == ".txt":
        entries.setdefault(key, _Entry(key)).text = place
    elif suffix == ".json":
        entries.setdefault(key, _Entry(key)).record = place
