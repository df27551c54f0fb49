"""Data sets in local files: captions, Karpathy splits, SugarCrepe, ARO, folders of classes."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp_plugins.datasets.image_text.base import RowDataset
from interp_plugins.datasets.image_text.config import Aro, CaptionedFiles, Coco, LabelledFolder, SugarCrepe
from interp_plugins.datasets.paths import inside, open_image
from interp_plugins.datasets.tables import read_rows
from interp_registry.contracts.data import CaptionedImage, ChoiceSample, LabelledSample
from interp_registry.errors import DataError, UsageError

__all__ = [
    "AroDataset",
    "CaptionedFilesDataset",
    "KarpathyDataset",
    "LabelledFolderDataset",
    "SugarCrepeDataset",
]

SUGARCREPE_SUBSETS = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def _read_json(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise UsageError(f"{what}: there is no file {str(path)!r}", "fetch it and give its path") from err
    except (OSError, ValueError, RecursionError) as err:
        raise DataError(f"{what}: {str(path)!r} cannot be read: {err}") from err


def _digest(files: Sequence[Path], *parts: object) -> str:
    digest = hashlib.sha256(repr(parts).encode())
    for path in files:
        status = path.stat()
        digest.update(f"{path.name}|{status.st_size}|{status.st_mtime_ns}|".encode())
    return digest.hexdigest()


class KarpathyDataset(RowDataset):
    """A split of Karpathy's JSON files: `images`, each with `filename`, `filepath`, `split` and `sentences`."""

    def __init__(self, config: Coco) -> None:
        content = _read_json(config.annotations, "Karpathy split")
        try:
            chosen = [image for image in content["images"] if image["split"] == config.split]
            splits = sorted({image["split"] for image in content["images"]})
            rows = [str(Path(image.get("filepath", "")) / image["filename"]) for image in chosen]
            texts = [[sentence["raw"].strip() for sentence in image["sentences"]] for image in chosen]
        except (KeyError, TypeError, AttributeError) as err:
            raise DataError(f"{str(config.annotations)!r} is no file of Karpathy's: {err!r} is missing") from err
        if not rows:
            raise UsageError(f"there is no split {config.split!r}", f"{config.annotations} has {', '.join(splits)}")

        def decode(index: int, name: str) -> CaptionedImage:
            return CaptionedImage(name, open_image(inside(config.images, name)), tuple(texts[index]))

        digest = _digest([config.annotations], "karpathy", config.split, str(config.images))
        super().__init__(content.get("dataset", "coco"), rows, decode, fingerprint=digest, captions=texts)


class SugarCrepeDataset(RowDataset):
    """A right caption (option 0) and a hard negative for images of COCO val2017."""

    def __init__(self, config: SugarCrepe) -> None:
        names = SUGARCREPE_SUBSETS if config.subset == "all" else (config.subset,)
        files = [config.annotations / f"{name}.json" for name in names]
        rows: list[tuple[str, str, tuple[str, str]]] = []
        for name, file in zip(names, files, strict=True):
            for key, entry in _read_json(file, "SugarCrepe").items():
                rows.append((f"{name}-{key}", entry["filename"], (entry["caption"], entry["negative_caption"])))
        kinds = [key.rpartition("-")[0] for key, _, _ in rows]

        def decode(index: int, row: tuple[str, str, tuple[str, str]]) -> ChoiceSample:
            key, file, captions = row
            return ChoiceSample(key, open_image(inside(config.images, file)), captions, 0, kinds[index])

        super().__init__(
            "sugarcrepe",
            rows,
            decode,
            fingerprint=_digest(files, "sugarcrepe", str(config.images)),
            captions=[captions for _, _, captions in rows],
        )
        self.tags = {"kind": kinds}
        self.answers = [0] * len(rows)


class AroDataset(RowDataset):
    """Captions for an image or a box of it, the first right; kinds are relations or pairs of attributes, empty for orders of words."""

    def __init__(self, config: Aro) -> None:
        entries = _read_json(config.annotations, "ARO")
        try:
            texts = [_options(entry) for entry in entries]
            images = [str(entry.get("image_path") or entry["image"]) for entry in entries]
            kinds = [str(entry.get("relation_name") or "_".join(entry.get("attributes", ()))) for entry in entries]
            boxes = [_box(entry) for entry in entries]
        except (KeyError, TypeError, AttributeError, ValueError) as err:
            raise DataError(f"{str(config.annotations)!r} is no file of ARO: {err!r}") from err

        def decode(index: int, name: str) -> ChoiceSample:
            image = open_image(inside(config.images, name), box=boxes[index])
            return ChoiceSample(f"{index}-{name}", image, texts[index], 0, kinds[index])

        digest = _digest([config.annotations], "aro", str(config.images))
        name = "aro" if any(kinds) else f"aro_{config.annotations.stem}"
        super().__init__(name, images, decode, fingerprint=digest, captions=texts)
        self.tags = {"kind": kinds} if any(kinds) else {}
        self.answers = [0] * len(images)


def _options(entry: dict[str, Any]) -> tuple[str, ...]:
    if "caption_options" in entry:
        return tuple(entry["caption_options"])
    return entry["true_caption"], entry["false_caption"]


def _box(entry: dict[str, Any]) -> tuple[int, int, int, int] | None:
    if "bbox_x" not in entry:
        return None
    left, top = int(entry["bbox_x"]), int(entry["bbox_y"])
    return left, top, left + int(entry["bbox_w"]), top + int(entry["bbox_h"])


class LabelledFolderDataset(RowDataset):
    """Images in one sub-folder per class; classes in alphabetical order."""

    modalities = frozenset({"vision"})

    def __init__(self, config: LabelledFolder) -> None:
        root = config.folder / config.split if config.split else config.folder
        if not root.is_dir():
            raise UsageError(f"there is no folder {str(root)!r}", "it should hold a folder of images for every class")
        classes = sorted(path for path in root.iterdir() if path.is_dir())
        rows = [
            (path, label)
            for label, folder in enumerate(classes)
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in IMAGE_SUFFIXES
        ]
        self._names = tuple(path.name.replace("_", " ") for path in classes)

        def decode(_index: int, row: tuple[Path, int]) -> LabelledSample:
            path, label = row
            return LabelledSample(str(path.relative_to(root)), open_image(path), label)

        digest = _digest([path for path, _ in rows], "folder", [str(path.relative_to(root)) for path, _ in rows])
        super().__init__(root.name, rows, decode, fingerprint=digest)
        self.answers = [label for _, label in rows]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the sub-folders, with spaces for underscores."""
        return self._names


class CaptionedFilesDataset(RowDataset):
    """Images with their captions; rows of the same image are put together."""

    def __init__(self, config: CaptionedFiles) -> None:
        folder = config.file.parent
        captions: dict[str, list[str]] = {}
        for row in _rows_of(config.file):
            if not {"image", "caption"} <= set(row):
                raise DataError(f"{config.file}: found {sorted(map(str, row))}, expected 'image' and 'caption'")
            texts = row["caption"] if isinstance(row["caption"], list) else [row["caption"]]
            captions.setdefault(str(row["image"]), []).extend(texts)

        def decode(_index: int, name: str) -> CaptionedImage:
            return CaptionedImage(name, open_image(inside(folder, name)), tuple(captions[name]))

        super().__init__(
            config.file.stem,
            list(captions),
            decode,
            fingerprint=_digest([config.file], "captions"),
            captions=list(captions.values()),
        )


def _rows_of(file: Path) -> list[dict[str, Any]]:
    if file.suffix != ".json":
        return read_rows(file)
    rows = _read_json(file, "captions")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{file} is no list of objects", "each has an 'image' and a 'caption'")
    return rows
