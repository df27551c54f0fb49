"""Scenes: what is in a picture, as arrays of small integers, drawn from the counter-based hash.

Axis letters: n scenes, 3 object slots (slots from ``count`` on are ignored), 2 axes (x, y), 3 colour channels.
"""

from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from interp_plugins.embedded.world import tables
from interp_plugins.embedded.world.hashing import Words, absorb, below, between, permutation, weighted

Integers = NDArray[np.int64]

(_THEME, _COUNT, _COLOUR, _SHAPE, _TEXTURE, _SIZE, _CELL, _JITTER) = range(8)
(_ROTATION, _LIGHT, _GRADIENT, _TINT, _OBJECT_TINT, _NOISE) = range(8, 14)


@dataclass(frozen=True)
class Split:
    """One split of the world: how many scenes it has by default, and the seeds of its scenes and captions."""

    size: int
    scene_seed: int
    caption_seed: int
    n_captions: int


SPLITS: Final = MappingProxyType(
    {
        "train": Split(size=12_000, scene_seed=101, caption_seed=102, n_captions=4),
        "evaluation": Split(size=1_024, scene_seed=201, caption_seed=202, n_captions=5),
    }
)
"""Splits by name. Their sizes are defaults: any item number can be drawn, and item i is the same in every set."""


@dataclass(frozen=True)
class Scenes:
    """n scenes as integer arrays; the fields from ``jitter`` on are nuisance that no caption mentions."""

    theme: Integers
    """[n] in 0 ... 11."""
    count: Integers
    """[n] number of objects, 1 ... 3."""
    colour: Integers
    """[n, 3] in 0 ... 9."""
    shape: Integers
    """[n, 3] in 0 ... 9."""
    texture: Integers
    """[n, 3] in 0 ... 3."""
    size: Integers
    """[n, 3]: 0 small, 1 large."""
    cell: Integers
    """[n, 3] place on the 3 x 3 grid, row = cell div 3, column = cell mod 3; all different."""
    jitter: Integers
    """[n, 3, 2] shift of the centre in pixels, x then y."""
    rotation: Integers
    """[n, 3] index of the angle, 0 ... 6 for -30 ... 30 degrees."""
    light: Integers
    """[n] brightness in per cent."""
    gradient: Integers
    """[n, 2] linear shading of the background, grey levels."""
    tint: Integers
    """[n, 3] added to the family colour."""
    object_tint: Integers
    """[n, 3, 3] added to the colour of each object."""
    noise: Integers
    """[n] seed of the pixel noise; its value mod 16 is the phase of the background pattern."""

    def __len__(self) -> int:
        return len(self.theme)

    def take(self, rows: NDArray[np.integer] | slice) -> Self:
        """The scenes at these rows, in this order."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def centres(self) -> Integers:
        """[n, 3, 2] centre of every object in pixels, x then y (y runs downward)."""
        place = np.stack([self.cell % 3, self.cell // 3], axis=-1)
        return tables.CELL_PITCH * place + tables.CELL_OFFSET + self.jitter

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """The scenes of all parts, one part after the other."""
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )


def scenes(split: str, start: int = 0, stop: int | None = None) -> Scenes:
    """Scenes ``start`` ... ``stop - 1`` of a split.

    Args:
        split: ``"train"`` or ``"evaluation"``.
        start: first item.
        stop: one past the last item; by default the size of the split. It may be larger: the world has no end.

    Raises:
        KeyError: there is no such split.
    """
    chosen = SPLITS[split]
    items = np.arange(start, chosen.size if stop is None else stop, dtype=np.int64)
    return draw(chosen.scene_seed, items)


def draw(seed: int, items: Integers) -> Scenes:
    """The scenes with these item counters, drawn under a seed; each depends on its own counter alone."""
    field = _Fields(seed, items)
    theme = below(field(_THEME), len(tables.THEMES))
    return Scenes(
        theme=theme,
        count=weighted(field(_COUNT), np.cumsum(tables.COUNT_WEIGHTS)) + 1,
        colour=weighted(
            field(_COLOUR, slots=3), _preferences(tables.LIKED_COLOURS, len(tables.COLOURS))[theme][:, None]
        ),
        shape=weighted(field(_SHAPE, slots=3), _preferences(tables.LIKED_SHAPES, len(tables.SHAPES))[theme][:, None]),
        texture=weighted(field(_TEXTURE, slots=3), _texture_preferences()[theme][:, None]),
        size=below(field(_SIZE, slots=3), len(tables.SIZES)),
        cell=permutation(field(_CELL, slots=9))[:, : tables.MAX_OBJECTS],
        jitter=between(field(_JITTER, slots=3, draws=2), -tables.JITTER, tables.JITTER),
        **draw_nuisance(seed, items),
    )


def draw_nuisance(seed: int, items: Integers) -> dict[str, Integers]:
    """The nuisance fields of scenes but the jitter: rotation, light, gradient, tints and noise seed."""
    field = _Fields(seed, items)
    return {
        "rotation": below(field(_ROTATION, slots=3), tables.N_ROTATIONS),
        "light": between(field(_LIGHT), *tables.LIGHT),
        "gradient": between(field(_GRADIENT, slots=2), -tables.GRADIENT, tables.GRADIENT),
        "tint": between(field(_TINT, slots=3), -tables.TINT, tables.TINT),
        "object_tint": between(field(_OBJECT_TINT, slots=3, draws=3), -tables.OBJECT_TINT, tables.OBJECT_TINT),
        "noise": below(field(_NOISE), tables.NOISE_SEEDS),
    }


class _Fields:
    """Hashes of one seed's scenes by field number, shape ``[n]``, ``[n, slots]`` or ``[n, slots, draws]``."""

    def __init__(self, seed: int, items: Integers) -> None:
        self._seed = seed
        self._items = items

    def __call__(self, field: int, slots: int | None = None, draws: int | None = None) -> Words:
        items = self._items[:, None, None]
        slot = np.arange(slots or 1)[:, None]
        words = absorb(tables.WORLD_VERSION, self._seed, field, items, slot, np.arange(draws or 1))
        if draws is None:
            words = words[:, :, 0]
            if slots is None:
                words = words[:, 0]
        return words


def _preferences(liked: tuple[tuple[int, int], ...], n_values: int) -> Integers:
    """Cumulative integer weights [themes, values] of a factor of which every theme likes two values."""
    weights = np.ones((len(liked), n_values), dtype=np.int64)
    for theme, values in enumerate(liked):
        weights[theme, list(values)] = tables.LIKED_WEIGHT
    return np.cumsum(weights, axis=1)


def _texture_preferences() -> Integers:
    """Cumulative integer weights [themes, textures]."""
    weights = np.ones((len(tables.THEMES), len(tables.TEXTURES)), dtype=np.int64)
    weights[np.arange(len(tables.THEMES)), list(tables.LIKED_TEXTURE)] = tables.TEXTURE_WEIGHT
    return np.cumsum(weights, axis=1)
