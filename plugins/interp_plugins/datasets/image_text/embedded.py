"""Data sets of the embedded world; nothing is fetched."""

import hashlib

import numpy as np
from PIL import Image

from interp_plugins.datasets.image_text.base import RowDataset
from interp_plugins.datasets.image_text.config import WorldChoices, WorldClasses, WorldPairs, WorldTwins
from interp_plugins.embedded import world
from interp_plugins.embedded.world.tables import COLOUR_WORDS, SHAPE_WORDS
from interp_registry.contracts.data import CaptionedImage, ChoiceSample, LabelledSample, QuadSample
from interp_registry.errors import DataError

__all__ = ["WorldChoicesDataset", "WorldClassesDataset", "WorldPairsDataset", "WorldTwinsDataset"]


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr((world.WORLD_VERSION, *parts)).encode()).hexdigest()


def _positive(n: int) -> int:
    if n < 1:
        raise DataError(f"n is {n}, expected at least 1")
    return n


class WorldPairsDataset(RowDataset):
    """The first n pictures of a split with their captions."""

    def __init__(self, config: WorldPairs) -> None:
        n = _positive(config.n)
        texts = world.captions(config.split, 0, n, _positive(config.n_captions))
        pictures = world.render(world.scenes(config.split, 0, n))

        def decode(index: int, caption: list[str]) -> CaptionedImage:
            return CaptionedImage(f"{config.split}-{index}", Image.fromarray(pictures[index]), tuple(caption))

        digest = _digest("pairs", config.split, n, config.n_captions)
        super().__init__("world_pairs", texts, decode, fingerprint=digest, captions=texts)


class WorldTwinsDataset(RowDataset):
    """Twin items; the kind says what the two objects exchange."""

    def __init__(self, config: WorldTwins) -> None:
        items = world.twins(config.split, 0, _positive(config.n))
        pictures = np.stack([world.render(items.a), world.render(items.b)])
        kinds = [world.KINDS[kind] for kind in items.kind]
        texts = list(zip(items.captions_a, items.captions_b, strict=True))

        def decode(index: int, captions: tuple[str, str]) -> QuadSample:
            first, second = (Image.fromarray(side[index]) for side in pictures)
            return QuadSample(f"{config.split}-{index}", (first, second), captions, kinds[index])

        digest = _digest("twins", config.split, config.n)
        super().__init__("world_twins", texts, decode, fingerprint=digest, captions=texts)
        self.tags = {"kind": kinds}


class WorldChoicesDataset(RowDataset):
    """Each picture of a twin with both captions; both pictures of a twin are a pair."""

    def __init__(self, config: WorldChoices) -> None:
        items = world.twins(config.split, 0, _positive(config.n))
        pictures = np.stack([world.render(items.a), world.render(items.b)])
        rows = [(item, side) for item in range(len(items)) for side in (0, 1)]
        kinds = [world.KINDS[items.kind[item]] for item, _ in rows]
        texts = [(items.captions_a[item], items.captions_b[item]) for item, _ in rows]

        def decode(index: int, row: tuple[int, int]) -> ChoiceSample:
            item, side = row
            picture = Image.fromarray(pictures[side, item])
            return ChoiceSample(f"{config.split}-{item}-{side}", picture, texts[index], side, kinds[index])

        super().__init__(
            "world_choices",
            rows,
            decode,
            fingerprint=_digest("choices", config.split, config.n),
            captions=texts,
        )
        self.tags = {"kind": kinds}
        self.groups = {"pair": [str(item) for item, _ in rows]}
        self.answers = [side for _, side in rows]


class WorldClassesDataset(RowDataset):
    """Pictures of one object with its colour or shape as the class."""

    modalities = frozenset({"vision"})

    def __init__(self, config: WorldClasses) -> None:
        scenes = world.scenes(config.split, 0, _positive(config.n))
        single = np.flatnonzero(scenes.count == 1)
        pictures = world.render(scenes.take(single))
        labels = (scenes.colour if config.attribute == "colour" else scenes.shape)[single, 0].tolist()
        colours, shapes = [words[0] for words in COLOUR_WORDS], [words[0] for words in SHAPE_WORDS]
        self._names = tuple(colours if config.attribute == "colour" else shapes)
        by_colour = config.attribute == "colour"
        self.templates = (
            tuple(f"a {{c}} {shape}" for shape in shapes) if by_colour else tuple(f"a {c} {{c}}" for c in colours)
        )

        def decode(index: int, label: int) -> LabelledSample:
            return LabelledSample(f"{config.split}-{single[index]}", Image.fromarray(pictures[index]), label)

        digest = _digest("classes", config.attribute, config.split, config.n)
        super().__init__(f"world_{config.attribute}s", labels, decode, fingerprint=digest)
        self.answers = labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """The canonical words of the ten colours or shapes."""
        return self._names
