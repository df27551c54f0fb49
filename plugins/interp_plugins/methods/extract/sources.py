"""What is read of a data set for one model: texts with their lengths, or images decoded when their batch comes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from interp_registry.contracts.data import Dataset, reading
from interp_registry.contracts.model import Encoded, Model
from interp_registry.errors import DataError, PluginError, UsageError

__all__ = ["EncodedSource", "ImageSource", "Source", "text_source", "texts_of"]


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
        images: list[Any] = []
        for row in rows:
            with reading(self.dataset, row):
                images.append(self.dataset.image(row))
        return _encode(self.model, images)

    def keys(self, rows: range) -> list[str]:
        """Names of these samples."""
        return [self.dataset.key(row) for row in rows]
