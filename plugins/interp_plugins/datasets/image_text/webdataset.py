"""Tar files in the layout of CLIP_benchmark, read in place.

``{split}/nshards.txt`` says how many tars there are, ``{split}/{i}.tar`` hold files ``key.jpg`` with ``key.txt`` (a caption per line) or
``key.cls`` (a class number); ``classnames.txt`` and ``zeroshot_classification_templates.txt`` lie beside the splits.
"""

import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from interp_plugins.datasets.image_text.base import RowDataset
from interp_plugins.datasets.image_text.config import WebDatasetTars
from interp_registry.contracts.data import CaptionedImage, LabelledSample
from interp_registry.errors import CorruptError, DataError, UsageError

__all__ = ["WebDatasetDataset"]

IMAGES = ("webp", "png", "jpg", "jpeg")


@dataclass
class _Item:
    """Where the parts of one sample lie: ending -> (tar, first byte, length)."""

    key: str
    parts: dict[str, tuple[Path, int, int]] = field(default_factory=dict)

    def read(self, ending: str) -> bytes:
        path, start, length = self.parts[ending]
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    @property
    def image_ending(self) -> str | None:
        return next((ending for ending in IMAGES if ending in self.parts), None)


class WebDatasetDataset(RowDataset):
    """Retrieval or classification samples in tar files."""

    def __init__(self, config: WebDatasetTars) -> None:
        tars = _tars(config.folder / config.split)
        items = [item for tar in tars for item in _items(tar).values() if item.image_ending]
        if not items:
            raise DataError(f"{str(config.folder / config.split)!r} holds no images", f"expected {', '.join(IMAGES)}")
        by_caption = "txt" in items[0].parts
        ending = "txt" if by_caption else "cls"
        lacking = next((item for item in items if ending not in item.parts), None)
        if lacking is not None:
            raise DataError(f"{lacking.key!r} has no .{ending}", "every image needs captions (.txt) or a class (.cls)")
        self._names = _lines(config.folder / "classnames.txt")
        self.templates = _lines(config.folder / "zeroshot_classification_templates.txt")
        answers = [item.read(ending).decode("utf-8") for item in items]
        captions = (
            [[line.strip() for line in text.splitlines() if line.strip()] for text in answers] if by_caption else None
        )

        def decode(index: int, item: _Item) -> CaptionedImage | LabelledSample:
            image = Image.open(io.BytesIO(item.read(item.image_ending or ""))).convert("RGB")
            if captions is not None:
                return CaptionedImage(item.key, image, tuple(captions[index]))
            return LabelledSample(item.key, image, int(answers[index]))

        digest = hashlib.sha256(repr([(tar.name, tar.stat().st_size, tar.stat().st_mtime_ns) for tar in tars]).encode())
        super().__init__(
            config.folder.name or "webdataset", items, decode, fingerprint=digest.hexdigest(), captions=captions
        )

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


def _items(tar: Path) -> dict[str, _Item]:
    items: dict[str, _Item] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                if member.isfile():
                    key, _, ending = member.name.rpartition(".")
                    where = (tar, member.offset_data, member.size)
                    items.setdefault(key, _Item(f"{tar.stem}/{key}")).parts[ending.lower()] = where
    except tarfile.TarError as err:
        raise CorruptError(f"{str(tar)!r} is no tar file: {err}", "fetch it again") from err
    return items


def _lines(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
