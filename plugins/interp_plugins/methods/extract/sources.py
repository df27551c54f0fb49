"""What is read of a data set for one model: texts with their lengths, or images decoded when their batch comes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from interp_registry.contracts.data import Dataset, reading
from interp_registry.contracts.model import Encoded, Modality, Model
from interp_registry.errors import DataError, PluginError, UsageError

__all__ = ["EncodedSource", "ImageSource", "Source", "Witness", "text_source", "texts_of"]

_WITNESSES = 16


class Source(Protocol):
    """Samples for one model, by row."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def lengths(self, rows: range) -> list[int]:
        """Tokens of each sample (1 for an image)."""
        ...

    def load(self, rows: Sequence[int]) -> list[Encoded]:
        """Encode these samples; called from several threads."""
        ...

    def keys(self, rows: range) -> list[str]:
        """Names of these samples."""
        ...


def texts_of(dataset: Dataset, rows: Sequence[int], captions: Sequence[int], prompt: str | None) -> list[str]:
    """Texts of a data set, several captions joined by " . ", put into a template.

    Args:
        dataset: Where from.
        rows: Which samples.
        captions: Which captions of each.
        prompt: Template with ``{}`` (or ``{text}``) where the text goes; None leaves it as it is.

    Raises:
        UsageError: The template has no place for the text.
        DataError: A sample has no such caption.
    """
    if prompt is not None and "{}" not in prompt and "{text}" not in prompt:
        raise UsageError(f"--prompt {prompt!r} has no place for the text", "write {} where it goes")
    texts: list[str] = []
    for row in rows:
        with reading(dataset, row):
            texts.append(" . ".join(dataset.text(row, caption) for caption in captions))
    if prompt is None:
        return texts
    return [prompt.replace("{text}", text) if "{text}" in prompt else prompt.replace("{}", text) for text in texts]


class Witness:
    """Some samples of a data set as they were read first, to notice one that gives others, or another order, when it is read again.

    Args:
        dataset: The data set; it is read now.
        modality: Which side of its samples is read.
        captions: Which captions of each.
    """

    def __init__(self, dataset: Dataset, modality: Modality, captions: Sequence[int] = (0,)) -> None:
        self._dataset, self._modality, self._captions = dataset, modality, captions
        with reading(dataset):
            n = len(dataset)
        self._rows = range(0, n, max(n // _WITNESSES, 1))
        self._seen = self._read()

    def _read(self) -> list[tuple[str, str | bytes]]:
        return [(self._key(row), self._content(row)) for row in self._rows]

    def _key(self, row: int) -> str:
        with reading(self._dataset, row):
            return self._dataset.key(row)

    def _content(self, row: int) -> str | bytes:
        if self._modality == "language":
            return texts_of(self._dataset, [row], self._captions, None)[0]
        return hashlib.sha256(np.asarray(_image(self._dataset, row)).tobytes()).digest()

    def check(self) -> None:
        """Read them again.

        Raises:
            DataError: They are others.
        """
        if self._read() != self._seen:
            raise DataError(
                f"{self._dataset.name} gives other samples, or another order, when it is read again",
                "a data set must not change while it is read: shuffle with --shuffle-seed, not in the data set",
            )


def _image(dataset: Dataset, row: int) -> Any:
    """The image of a sample.

    Raises:
        DataError: It cannot be read, or is empty.
    """
    with reading(dataset, row):
        image = dataset.image(row)
        width, height = getattr(image, "width", 1), getattr(image, "height", 1)
        if not (width and height):
            raise ValueError(f"an image of {width} x {height} pixels")
        return image


@dataclass
class EncodedSource:
    """Samples that are encoded already: texts, whose lengths are wanted before their batches, or tensors given from Python."""

    items: Sequence[Encoded]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.items)

    def lengths(self, rows: range) -> list[int]:
        """Tokens of each sample."""
        return [self.items[row].length for row in rows]

    def load(self, rows: Sequence[int]) -> list[Encoded]:
        """The samples of these rows."""
        return [self.items[row] for row in rows]

    def keys(self, rows: range) -> list[str]:
        """Names of these samples."""
        return [self.names[row] for row in rows]


def text_source(
    model: Model, dataset: Dataset, captions: Sequence[int] = (0,), prompt: str | None = None
) -> EncodedSource:
    """All texts of a data set, tokenised.

    Raises:
        DataError: The data set has no text.
    """
    if "language" not in dataset.modalities:
        raise DataError(f"{dataset.name} has no text, and {model.info.name} reads text")
    with reading(dataset):
        rows = range(len(dataset))
    encoded = _encode(model, texts_of(dataset, rows, captions, prompt))
    return EncodedSource(encoded, [dataset.key(row) for row in rows])


def _encode(model: Model, samples: Sequence[Any]) -> list[Encoded]:
    encoded = model.preprocess(samples)
    if len(encoded) != len(samples):
        raise PluginError(f"{model.info.name} made {len(encoded)} inputs of {len(samples)} samples")
    return encoded


@dataclass
class ImageSource:
    """The images of a data set, decoded and transformed when their batch is due."""

    model: Model
    dataset: Dataset

    def __post_init__(self) -> None:
        if "vision" not in self.dataset.modalities:
            raise DataError(f"{self.dataset.name} has no images, and {self.model.info.name} reads images")

    def __len__(self) -> int:
        return len(self.dataset)

    def lengths(self, rows: range) -> list[int]:
        """1 each."""
        return [1] * len(rows)

    def load(self, rows: Sequence[int]) -> list[Encoded]:
        """Decode and transform these images."""
        return _encode(self.model, [_image(self.dataset, row) for row in rows])

    def keys(self, rows: range) -> list[str]:
        """Names of these samples."""
        return [self.dataset.key(row) for row in rows]
