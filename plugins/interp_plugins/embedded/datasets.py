"""The world as data sets: captioned pictures, and twins. Made when they are read, never stored."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from interp_plugins.embedded.config import ShapesConfig, ShapesTwinsConfig
from interp_plugins.embedded.world import KINDS, SPLITS, WORLD_VERSION, Scenes, captions, join, render, scenes, twins
from interp_plugins.embedded.world.facts import fact_words, scene_facts
from interp_registry.contracts.data import CaptionedImage, Dataset, QuadSample, SampleModality
from interp_registry.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Shapes", "ShapesTwins"]

_CACHED_PICTURES = 128


class Shapes(Dataset):
    """Pictures of the world with their captions.

    A sample's caption j is made of ``captions_per_item`` captions of its scene from number j on, joined by " . ": with
    one caption per item they are the captions themselves, with three caption 0 joins captions 0, 1 and 2.

    Args:
        config: split, captions per item, limit.

    Raises:
        ConfigError: more captions per item than the split has, or a limit below 1.
    """

    modalities: frozenset[SampleModality] = frozenset({"language", "vision"})

    def __init__(self, config: ShapesConfig) -> None:
        split = SPLITS[config.split]
        if not 1 <= config.captions_per_item <= split.n_captions:
            raise ConfigError(
                f"{config.captions_per_item} is not in 1 ... {split.n_captions}, the captions of a scene",
                "captions_per_item",
            )
        if config.limit is not None and config.limit < 1:
            raise ConfigError(f"{config.limit} samples were asked for", "limit", "ask for at least 1")
        self.name = "shapes" if config.split == "evaluation" else f"shapes-{config.split}"
        self.split = config.split
        self.captions_per_item = config.captions_per_item
        self._size = split.size if config.limit is None else config.limit
        self._chunk: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> CaptionedImage:
        return CaptionedImage(key=self.key(index), image=self.image(index), captions=self.captions_of(index))

    @property
    def fingerprint(self) -> str:
        """World version, split, captions per item and size: together they say every sample."""
        return f"shapes-v{WORLD_VERSION}-{self.split}-c{self.captions_per_item}-n{len(self)}"

    def captions_of(self, index: int) -> tuple[str, ...]:
        """All captions of sample ``index``, without drawing its picture."""
        texts = self._captions[_position(index, len(self))]
        n = len(texts)
        return tuple(join([texts[(j + k) % n] for k in range(self.captions_per_item)]) for j in range(n))

    def image(self, index: int) -> "Image":
        """The picture of sample ``index``, 64 x 64 RGB."""
        index = _position(index, len(self))
        first = index - index % _CACHED_PICTURES
        if self._chunk[0] != first:
            self._chunk = first, render(scenes(self.split, first, min(first + _CACHED_PICTURES, len(self))))
        return _picture(self._chunk[1][index - first])

    def key(self, index: int) -> str:
        """Name of sample ``index``."""
        return f"{self.split}-{_position(index, len(self)):05d}"

    @property
    def fact_words(self) -> Mapping[str, tuple[str, ...]]:
        """Every fact that a scene can have, and the words that name it."""
        return fact_words()

    def facts(self, index: int) -> frozenset[str]:
        """The facts of the scene of sample ``index``, whether its captions say them or not."""
        return scene_facts(self._scenes, _position(index, len(self)))

    @cached_property
    def _scenes(self) -> Scenes:
        return scenes(self.split, 0, len(self))

    @cached_property
    def _captions(self) -> list[list[str]]:
        return captions(self.split, 0, len(self))


class ShapesTwins(Dataset):
    """Compositional twins: two pictures and two captions made of the same words.

    Args:
        config: split and limit.

    Raises:
        ConfigError: a limit below 1.
    """

    modalities: frozenset[SampleModality] = frozenset({"language", "vision"})

    def __init__(self, config: ShapesTwinsConfig) -> None:
        if config.limit is not None and config.limit < 1:
            raise ConfigError(f"{config.limit} samples were asked for", "limit", "ask for at least 1")
        self.name = "shapes-twins" if config.split == "evaluation" else f"shapes-twins-{config.split}"
        self.split = config.split
        self._items = twins(config.split, 0, config.limit)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> QuadSample:
        index = _position(index, len(self))
        images = (self.image(index), _picture(render(self._items.b.take(slice(index, index + 1)))[0]))
        texts = (self._items.captions_a[index], self._items.captions_b[index])
        return QuadSample(self.key(index), images, texts, KINDS[self._items.kind[index]])

    @property
    def fingerprint(self) -> str:
        """World version, split and size: together they say every sample."""
        return f"shapes-twins-v{WORLD_VERSION}-{self.split}-n{len(self)}"

    def image(self, index: int) -> "Image":
        """Picture A of sample ``index``, to which caption 0 belongs."""
        index = _position(index, len(self))
        return _picture(render(self._items.a.take(slice(index, index + 1)))[0])

    def key(self, index: int) -> str:
        """Name of sample ``index``."""
        return f"twins-{self.split}-{_position(index, len(self)):05d}"


def _position(index: int, size: int) -> int:
    """The index from the front.

    Raises:
        IndexError: it is outside of the data set.
    """
    if not -size <= index < size:
        raise IndexError(f"sample {index} of {size}")
    return index % size


def _picture(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> "Image":
    from PIL import Image

    return Image.fromarray(pixels)
