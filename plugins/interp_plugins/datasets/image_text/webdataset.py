"""Tar files in the layout of CLIP_benchmark, read in place.

``{split}/nshards.txt`` says how many tars there are, ``{split}/{i}.tar`` hold files ``key.jpg`` with ``key.txt`` (a caption per line) or
``key.cls`` (a class number); ``classnames.txt`` and ``zeroshot_classification_templates.txt`` lie beside the splits.
"""

import hashlib
import io
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from interp_plugins.datasets.image_text.base import RowDataset, check_captions
from interp_plugins.datasets.image_text.config import WebDatasetTars
from interp_plugins.datasets.paths import decoded, open_image
from interp_registry.contracts.data import CaptionedImage, LabelledSample
from interp_registry.errors import CorruptError, DataError, UsageError

__all__ = ["WebDatasetDataset"]

IMAGES = ("webp", "png", "jpg", "jpeg")
N_CHECKED = 1000
LARGEST = 256 << 20
"""Bytes of the largest file of a sample."""


class WebDatasetDataset(RowDataset):
    """Retrieval or classification samples in tar files, of which only the names and places are held in memory.

    The captions of the first 1,000 samples are checked at once; any others by who reads them.
    """

    def __init__(self, config: WebDatasetTars) -> None:
        self._tars = _tars(config.folder / config.split)
        self._keys, self._places, ending = _indexed(self._tars)
        if not self._keys:
            raise DataError(f"{str(config.folder / config.split)!r} holds no images", f"expected {', '.join(IMAGES)}")
        self._names = _lines(config.folder / "classnames.txt")
        self.templates = _lines(config.folder / "zeroshot_classification_templates.txt")
        self._has_captions = ending == "txt"
        files = [(tar.name, tar.stat().st_size, tar.stat().st_mtime_ns) for tar in self._tars]
        digest = hashlib.sha256(repr(files).encode()).hexdigest()
        name = config.folder.name or "webdataset"
        super().__init__(name, cast("Sequence[int]", range(len(self._keys))), self._sample, fingerprint=digest)
        if self._has_captions:
            first = range(min(N_CHECKED, len(self)))
            check_captions(name, [caption for index in first for caption in self.captions_of(index)])
        else:
            self.answers = [self._label(index) for index in range(len(self))]

    def captions_of(self, index: int) -> tuple[str, ...]:
        """All captions of a sample, read from its tar; none where the samples have classes.

        Raises:
            DataError: Its file of captions is empty, or no UTF-8.
        """
        if not self._has_captions:
            return ()
        lines = decoded(self._read(index, 3), self._keys[index]).splitlines()
        captions = tuple(line.strip() for line in lines if line.strip())
        if not captions:
            raise DataError(f"{self._keys[index]!r} has an empty .txt", "every image needs a caption")
        return captions

    def _sample(self, index: int, row: int) -> CaptionedImage | LabelledSample:
        del index
        image = open_image(io.BytesIO(self._read(row, 1)), self._keys[row])
        if self._has_captions:
            return CaptionedImage(self._keys[row], image, self.captions_of(row))
        return LabelledSample(self._keys[row], image, self.answers[row])

    def _label(self, row: int) -> int:
        text = self._read(row, 3)
        try:
            return int(text)
        except ValueError as err:
            raise DataError(
                f"{self._keys[row]!r} has {text[:20]!r} in its .cls", "expected the number of a class"
            ) from err

    def _read(self, row: int, column: int) -> bytes:
        """Bytes of the image (column 1) or the answer (column 3) of a sample."""
        start, size = self._places[row, column : column + 2].tolist()
        with self._tars[int(self._places[row, 0])].open("rb") as file:
            file.seek(start)
            return file.read(size)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Lines of ``classnames.txt``."""
        return self._names


def _tars(folder: Path) -> list[Path]:
    listed = folder / "nshards.txt"
    if not listed.is_file():
        raise UsageError(
            f"there is no {str(listed)!r}", "the layout is that of CLIP_benchmark: SPLIT/nshards.txt, SPLIT/0.tar, ..."
        )
    text = listed.read_text(encoding="utf-8").strip()
    if not text.isdigit() or int(text) < 1:
        raise CorruptError(f"{str(listed)!r} says {text[:20]!r}, expected the number of tar files")
    tars = [folder / f"{index}.tar" for index in range(int(text))]
    missing = [tar.name for tar in tars if not tar.is_file()]
    if missing:
        raise CorruptError(f"{str(folder)!r} lacks {', '.join(missing[:5])}", "fetch these files again")
    return tars


def _indexed(tars: Sequence[Path]) -> tuple[list[str], NDArray[np.int64], str]:
    """Names of all samples with an image; number of the tar, first byte and length of image and answer [n, 5]; ending of the answers."""
    keys: list[str] = []
    places, ending = array("q"), ""
    for number, tar in enumerate(tars):
        for key, parts in _members(tar).items():
            image = next((name for name in IMAGES if name in parts), None)
            if image is None:
                continue
            ending = ending or ("txt" if "txt" in parts else "cls")
            if ending not in parts:
                raise DataError(
                    f"'{tar.stem}/{key}' has no .{ending}", "every image needs captions (.txt) or a class (.cls)"
                )
            keys.append(f"{tar.stem}/{key}")
            places.extend((number, *parts[image], *parts[ending]))
    return keys, np.array(places, dtype=np.int64).reshape(-1, 5), ending


def _members(tar: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """The files of a tar: name -> ending -> (first byte, length)."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for key, ending, place in _places(archive):
                found.setdefault(key, {})[ending] = place
    except (tarfile.TarError, OSError, ValueError, OverflowError) as err:
        raise CorruptError(f"{str(tar)!r} is no tar file: {err}", "fetch it again") from err
    return found


def _places(archive: tarfile.TarFile) -> Iterator[tuple[str, str, tuple[int, int]]]:
    for member in archive:
        if member.isfile():
            if not 0 <= member.size <= LARGEST:
                raise DataError(f"{archive.name}: {member.name!r} has {member.size} bytes", "no image or caption has")
            key, _, ending = member.name.rpartition(".")
            yield key, ending.lower(), (member.offset_data, member.size)
        archive.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it keeps every header otherwise


def _lines(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
