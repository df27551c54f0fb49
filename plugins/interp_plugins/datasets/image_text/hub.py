"""Data sets of the Hugging Face hub, from parquet; scripts are never run."""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_plugins.datasets.image_text.base import RowDataset
from interp_plugins.datasets.image_text.config import Flickr30k, ImageNet, WhatsUp, Winoground
from interp_registry.contracts.data import CaptionedImage, ChoiceSample, LabelledSample, QuadSample
from interp_registry.errors import DataError, OfflineError

if TYPE_CHECKING:
    from datasets import Dataset as HubRows
    from datasets import IterableDataset

__all__ = ["HubCaptionsDataset", "HubTable", "ImageNetDataset", "WhatsUpDataset", "WinogroundDataset"]

_PIECE = 256

RELATIONS = {
    "to the left of": "left-right",
    "to the right of": "left-right",
    "in front of": "front-behind",
    "behind": "front-behind",
    "under": "on-under",
    "on": "on-under",
}


class HubTable:
    """Rows of a split, whose images are decoded one at a time.

    Args:
        path: Name on the hub, or a folder of parquet files.
        subset: Configuration name, or None.
        split: Split.
        revision: Branch, tag or commit.
        limit: Stream, and keep the first so many rows.

    Raises:
        OfflineError: It is not in the cache and cannot be fetched, or access has not been granted.
    """

    def __init__(
        self, path: str, split: str, subset: str | None = None, revision: str | None = None, limit: int | None = None
    ) -> None:
        from datasets import load_dataset

        local = Path(path).expanduser().is_dir()
        options: dict[str, Any] = {"split": split, "streaming": limit is not None}
        try:
            table = load_dataset(path, subset, revision=None if local else revision, **options)
            self.rows: Any = table if limit is None else _first(table, limit)
        except (OSError, ValueError, RuntimeError) as err:
            first = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
            raise OfflineError(
                f"the data set {path!r} ({split}) cannot be had: {first}",
                f"fetch it where there is a network: `hf download {path} --repo-type dataset`; accept its terms there if it is gated",
            ) from err
        self._path = path
        identity = getattr(self.rows, "_fingerprint", None) if limit is None else None
        self.digest = hashlib.sha256(
            repr((path, subset, split, revision, limit, identity, len(self))).encode()
        ).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.rows.column_names)

    def column(self, name: str) -> list[Any]:
        """All values of a column, without decoding images of others.

        Raises:
            DataError: There is no such column.
        """
        if name not in self.columns:
            raise DataError(f"{self._path} has no column {name!r}", f"it has {', '.join(self.columns)}")
        return list(self.rows[name])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


def _first(stream: "IterableDataset", limit: int) -> "HubRows":
    """The first rows of a stream, fetched now; their images stay encoded until a row is asked for."""
    from datasets import Dataset, concatenate_datasets

    encoded = iter(itertools.islice(stream.decode(False) if stream.features else stream, limit))
    pieces = [Dataset.from_list(piece, features=stream.features) for piece in iter(lambda: _piece(encoded), [])]
    return concatenate_datasets(pieces or [Dataset.from_list([], features=stream.features)])


def _piece(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some rows: encoded images of more than 2 GiB do not fit in one table."""
    return list(itertools.islice(rows, _PIECE))


class WinogroundDataset(RowDataset):
    """Winoground's 400 items; results are broken down by its tags."""

    def __init__(self, config: Winoground) -> None:
        table = HubTable(config.path, "test", revision=config.revision)
        texts = list(zip(table.column("caption_0"), table.column("caption_1"), strict=True))
        wanted = ("collapsed_tag", "tag", "secondary_tag", "num_main_preds")
        tags = {name: [str(value or "") for value in table.column(name)] for name in wanted if name in table.columns}
        kinds = tags.get("collapsed_tag", [""] * len(texts))

        def decode(index: int, captions: tuple[str, str]) -> QuadSample:
            row = table[index]
            return QuadSample(
                str(row.get("id", index)), (_rgb(row["image_0"]), _rgb(row["image_1"])), captions, kinds[index]
            )

        super().__init__("winoground", texts, decode, fingerprint=table.digest, captions=texts)
        self.tags = tags


class WhatsUpDataset(RowDataset):
    """What'sUp: the right caption is option 0. Controlled images also count in pairs (one axis) and sets (one pair of objects)."""

    def __init__(self, config: WhatsUp) -> None:
        table = HubTable(config.path, config.subset, revision=config.revision, limit=config.limit)
        texts = [tuple(options) for options in table.column("caption_options")]
        keys = [_spatial_key(options[0]) for options in texts]
        controlled = config.subset.startswith("Controlled")
        groups = {"pair": _complete(["|".join(key) for key in keys], 2), "set": _complete([key[0] for key in keys], 4)}

        def decode(index: int, captions: tuple[str, ...]) -> ChoiceSample:
            images = table[index]["image_options"]
            image = images[0] if isinstance(images, (list, tuple)) else images
            return ChoiceSample(f"{config.subset}-{index}", _rgb(image), captions, 0, keys[index][1])

        super().__init__(
            f"whatsup_{config.subset}",
            texts,
            decode,
            fingerprint=table.digest,
            captions=texts,
        )
        self.tags = {"relation": [key[1] for key in keys]} if controlled else {}
        self.groups = groups if controlled else {}
        self.answers = [0] * len(texts)


def _spatial_key(caption: str) -> tuple[str, str]:
    """The two objects of a spatial caption and the axis of its relation, e.g. ("a mug|a plate", "left-right")."""
    lowered = caption.lower()
    for relation, axis in RELATIONS.items():
        match = re.search(rf"\b{relation}\b", lowered)
        if match:
            return f"{lowered[: match.start()].strip()}|{lowered[match.end() :].strip()}", axis
    return "", ""


def _complete(keys: Sequence[str], size: int) -> list[str]:
    """Keys of groups with exactly ``size`` members; others are emptied, because they cannot count."""
    counts = Counter(keys)
    return [key if key.strip("|") and counts[key] == size else "" for key in keys]


class HubCaptionsDataset(RowDataset):
    """Images with several captions, of one Karpathy split given as a column."""

    def __init__(self, config: Flickr30k) -> None:
        table = HubTable(config.path, config.hub_split, revision=config.revision, limit=config.limit)
        splits = table.column("split") if "split" in table.columns else [config.split] * len(table)
        rows = [index for index, split in enumerate(splits) if split == config.split]
        if not rows:
            raise DataError(f"{config.path} has no split {config.split!r}", f"it has {', '.join(sorted(set(splits)))}")
        every = table.column("caption")
        texts = [_as_list(config.path, every[row]) for row in rows]

        def decode(index: int, row: int) -> CaptionedImage:
            return CaptionedImage(str(row), _rgb(table[row]["image"]), tuple(texts[index]))

        digest = hashlib.sha256(f"{table.digest}|{config.split}".encode()).hexdigest()
        super().__init__("flickr30k", rows, decode, fingerprint=digest, captions=texts)


def _as_list(path: str, captions: Any) -> list[str]:
    """The captions of one image.

    Raises:
        DataError: They are one text, whose first "caption" would be its first letter.
    """
    if isinstance(captions, str):
        raise DataError(f"{path}: 'caption' holds a text ({captions[:40]!r}), expected a list of texts per image")
    return [caption.strip() for caption in captions]


class ImageNetDataset(RowDataset):
    """ImageNet-1k; class names are the first of each label's synonyms unless a file gives others."""

    modalities = frozenset({"vision"})

    def __init__(self, config: ImageNet) -> None:
        table = HubTable(config.path, config.split, revision=config.revision, limit=config.limit)
        labels = table.column("label")
        names = getattr(table.rows.features["label"], "names", [])
        self._names = tuple(name.split(",")[0] for name in names)

        def decode(index: int, label: int) -> LabelledSample:
            return LabelledSample(str(index), _rgb(table[index]["image"]), label)

        super().__init__("imagenet", labels, decode, fingerprint=table.digest)
        self.answers = labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """First synonyms of the labels; empty where the table has none, which then needs a file of names."""
        return self._names


def _rgb(image: Any) -> Any:
    if not hasattr(image, "convert"):
        raise DataError(f"found {type(image).__name__} in place of an image", "the column is not of type Image")
    return image.convert("RGB")
