"""What a data set is to every method: typed samples with a fingerprint that changes when they do.

A data set of one's own derives from :class:`Dataset` and writes ``__len__`` and ``__getitem__``; the rest has defaults.
"""

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from interp_registry.errors import DataError, InterpError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "CaptionedImage",
    "ChoiceSample",
    "Dataset",
    "ImageSample",
    "LabelledSample",
    "QuadSample",
    "Sample",
    "SampleModality",
    "StreamingDataset",
    "Subset",
    "TextSample",
    "TokenSample",
    "fingerprint_samples",
    "reading",
]

SampleModality = Literal["language", "vision"]
"""What a data set can give a model: texts, images, or both."""


@dataclass(frozen=True)
class TextSample:
    """One text."""

    key: str
    """Name of the sample, unique in its data set."""
    text: str


@dataclass(frozen=True)
class ImageSample:
    """One image."""

    key: str
    image: "Image"


@dataclass(frozen=True)
class CaptionedImage:
    """An image and one or more texts that describe it."""

    key: str
    image: "Image"
    captions: tuple[str, ...]
    origin: str = ""
    """Where the pair comes from, e.g. an address."""


@dataclass(frozen=True)
class QuadSample:
    """Two images and two captions; image ``i`` belongs to caption ``i`` (Winoground)."""

    key: str
    images: "tuple[Image, Image]"
    captions: tuple[str, str]
    kind: str = ""
    """Category that results are broken down by."""


@dataclass(frozen=True)
class ChoiceSample:
    """An image and several captions of which one is right (SugarCrepe, ARO)."""

    key: str
    image: "Image"
    captions: tuple[str, ...]
    answer: int = 0
    """Index of the right caption."""
    kind: str = ""


@dataclass(frozen=True)
class LabelledSample:
    """A text or an image with a class."""

    key: str
    content: "str | Image"
    label: int


@dataclass(frozen=True)
class TokenSample:
    """A sequence that is already tokenised."""

    key: str
    ids: tuple[int, ...]


Sample = TextSample | ImageSample | CaptionedImage | QuadSample | ChoiceSample | LabelledSample | TokenSample
"""Any of the sample types."""


class Dataset(ABC):
    """A finite data set of typed samples, read by index.

    ``captions_of`` (on which ``text`` rests) and ``image`` give one side of a sample; override them where the other side would
    be costly to make.
    """

    name: str = ""
    """Short name, as users write it."""
    modalities: frozenset[SampleModality] = frozenset()
    """What the samples can give a model."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """Sample ``index``, decoded."""

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    @property
    def fingerprint(self) -> str:
        """Digest (hex) that changes when any sample, or their order, does. The default reads every sample."""
        return fingerprint_samples(self)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels of :class:`LabelledSample`; empty when there are none."""
        return ()

    def text(self, index: int, caption: int = 0) -> str:
        """The text of sample ``index``.

        Args:
            index: Which sample.
            caption: Which of its captions, where it has several.

        Raises:
            DataError: The samples have no text, or not that many captions.
        """
        captions = self.captions_of(index)
        if not 0 <= caption < len(captions):
            raise DataError(
                f"sample {self.key(index)!r} of {self.name} has {len(captions)} texts, so none at index {caption}"
            )
        return captions[caption]

    def captions_of(self, index: int) -> tuple[str, ...]:
        """All texts of sample ``index``; empty when it has none."""
        return _texts_of(self[index], self.name)

    def image(self, index: int) -> "Image":
        """The image of sample ``index``.

        Raises:
            DataError: The samples have no image.
        """
        return _image_of(self[index])

    def key(self, index: int) -> str:
        """Name of sample ``index``."""
        return self[index].key

    def select(self, n: int | None = None, seed: int | None = None) -> "Dataset":
        """The first ``n`` samples, after a shuffle when ``seed`` is given.

        Args:
            n: How many; all of them when None or larger than the data set.
            seed: Seed of the shuffle; None keeps the order.

        Raises:
            DataError: ``n`` is less than 1.
        """
        if n is not None and n < 1:
            raise DataError(f"a data set of {n} samples was asked for", "--limit must be at least 1")
        with reading(self):
            rows = list(range(len(self)))
        if seed is not None:
            random.Random(seed).shuffle(rows)  # noqa: S311 - a reproducible order, not a secret
        return self if rows[:n] == list(range(len(self))) else Subset(self, rows[:n])


class Subset(Dataset):
    """Some samples of another data set, in a given order."""

    def __init__(self, parent: Dataset, rows: Sequence[int]) -> None:
        self.parent, self.rows = parent, tuple(rows)
        self.name, self.modalities = parent.name, parent.modalities

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.parent[self.rows[index]]

    @property
    def fingerprint(self) -> str:
        """Digest of the parent's fingerprint and the rows."""
        return hashlib.sha256(f"{self.parent.fingerprint}|{self.rows}".encode()).hexdigest()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the parent."""
        return self.parent.class_names

    def text(self, index: int, caption: int = 0) -> str:
        """The text of sample ``index``."""
        return self.parent.text(self.rows[index], caption)

    def captions_of(self, index: int) -> tuple[str, ...]:
        """All texts of sample ``index``."""
        return self.parent.captions_of(self.rows[index])

    def image(self, index: int) -> "Image":
        """The image of sample ``index``."""
        return self.parent.image(self.rows[index])

    def key(self, index: int) -> str:
        """Name of sample ``index``."""
        return self.parent.key(self.rows[index])


class StreamingDataset(ABC):
    """A data set that is read from the beginning and may not end; methods take a finite part of it."""

    name: str = ""
    modalities: frozenset[SampleModality] = frozenset()

    @abstractmethod
    def __iter__(self) -> Iterator[Any]:
        """Samples from the first on."""

    @abstractmethod
    def select(self, n: int | None = None, seed: int | None = None) -> Dataset:
        """The first ``n`` samples (after a buffered shuffle when ``seed`` is given), held as a finite data set.

        Raises:
            DataError: ``n`` is None and the stream has no known end, or ``n`` is less than 1.
        """


def fingerprint_samples(samples: Dataset) -> str:
    """SHA-256 over every field of every sample, in order."""
    digest = hashlib.sha256()
    with reading(samples):
        rows = range(len(samples))
    for row in rows:
        with reading(samples, row):
            _update(digest, samples[row])
    return digest.hexdigest()


@contextmanager
def reading(dataset: Dataset, row: int | None = None) -> Iterator[None]:
    """Name the data set, and the sample, of what goes wrong inside the block.

    Args:
        dataset: What is read.
        row: Which sample; None for the number of samples.

    Raises:
        DataError: In place of any error that is none of the tool's own.
    """
    try:
        yield
    except InterpError:
        raise
    except (Exception, SystemExit) as err:
        what = "the length" if row is None else f"sample {row}"
        raise DataError(f"{what} of {dataset.name} cannot be read: {type(err).__name__}: {err}") from err


def _update(digest: Any, value: Any) -> None:
    """Feed a value with a tag and its length, so that no two different samples give the same bytes."""
    raw = getattr(value, "tobytes", None)
    if is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            _update(digest, item.name)
            _update(digest, getattr(value, item.name))
    elif isinstance(value, tuple | list):
        digest.update(f"({len(value)}:".encode())
        for member in value:
            _update(digest, member)
    elif raw is not None and hasattr(value, "size"):
        shape = getattr(value, "shape", getattr(value, "size", None))
        _update(digest, f"{getattr(value, 'mode', type(value).__name__)}{shape}")
        _update(digest, raw())
    else:
        data = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(f"{len(data)}:".encode() + data)


def _texts_of(sample: Any, name: str) -> tuple[str, ...]:
    captions = getattr(sample, "captions", None)
    if isinstance(captions, str):
        raise DataError(
            f"sample {getattr(sample, 'key', '?')!r} of {name} has captions={captions!r}, expected a tuple of texts"
        )
    if captions is not None:
        return tuple(captions)
    text = sample if isinstance(sample, str) else getattr(sample, "text", getattr(sample, "content", None))
    return (text,) if isinstance(text, str) else ()


def _image_of(sample: Any) -> "Image":
    image = getattr(sample, "image", getattr(sample, "content", None))
    if image is None or isinstance(image, str):
        raise DataError(f"sample {getattr(sample, 'key', '?')!r} has no image")
    return image
