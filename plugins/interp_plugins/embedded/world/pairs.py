"""Twins: two scenes and two captions made of exactly the same words, after Winoground (Thrush et al. 2022).

The kind of item i is i mod 4: the two objects exchange colours, shapes, sizes or places. A twin's combination (two
colours and two shapes, unordered) belongs either to evaluation or to training, so no caption of the one occurs in the
other, whatever the synonyms.
"""

from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interp_plugins.embedded.world import tables
from interp_plugins.embedded.world.grammar import relation, with_article
from interp_plugins.embedded.world.hashing import Draws, absorb, below
from interp_plugins.embedded.world.sampling import Integers, Scenes, draw, draw_nuisance

KINDS = ("colour", "shape", "size", "relation")

TWIN_SEEDS: Final = MappingProxyType({"evaluation": 301, "train": 401})
TWIN_SIZES: Final = MappingProxyType({"evaluation": 400, "train": 6_000})
_COMBINATION_SEED, _EVALUATION_FIFTH = 501, 5
_NUISANCE_SEED_OFFSET, _WORD_SEED_OFFSET = 7, 11
_ATTEMPT_STRIDE = 2**32


@dataclass(frozen=True)
class Twins:
    """n twin items: scenes A and B, and their captions a and b, which hold the same words."""

    a: Scenes
    b: Scenes
    captions_a: list[str]
    captions_b: list[str]
    kind: Integers
    """[n] index into ``KINDS``."""

    def __len__(self) -> int:
        return len(self.kind)


def twins(split: str, start: int = 0, stop: int | None = None) -> Twins:
    """Twin items ``start`` ... ``stop - 1`` of ``"evaluation"`` (400 by default) or ``"train"`` (6,000).

    Raises:
        KeyError: there is no such split.
    """
    seed = TWIN_SEEDS[split]
    items = np.arange(start, TWIN_SIZES[split] if stop is None else stop, dtype=np.int64)
    kind = items % len(KINDS)
    a = _accepted_scenes(seed, items, evaluation=split == "evaluation")
    a = replace(a, count=np.full_like(a.count, 2), size=_twin_sizes(a.size, kind))
    b = replace(_exchanged(a, kind), **draw_nuisance(seed + _NUISANCE_SEED_OFFSET, items))
    words = absorb(tables.WORLD_VERSION, seed + _WORD_SEED_OFFSET, items[:, None], np.arange(8)).tolist()
    texts = [_captions(a.take(slice(i, i + 1)), int(kind[i]), Draws(words[i])) for i in range(len(items))]
    return Twins(a, b, [one for one, _ in texts], [other for _, other in texts], kind)


def same_words(one: str, other: str) -> bool:
    """Whether two texts are made of the same words, "an" counting as "a"."""
    bags = [sorted("a" if word == "an" else word for word in text.split()) for text in (one, other)]
    return bags[0] == bags[1]


def combination_is_for_evaluation(scenes: Scenes) -> NDArray[np.bool_]:
    """[n] whether the colours and shapes of objects 0 and 1 (unordered) are one of the fifth kept for evaluation."""
    colours, shapes = np.sort(scenes.colour[:, :2], axis=1), np.sort(scenes.shape[:, :2], axis=1)
    words = absorb(tables.WORLD_VERSION, _COMBINATION_SEED, colours[:, 0], colours[:, 1], shapes[:, 0], shapes[:, 1])
    return below(words, _EVALUATION_FIFTH) == 0


def _accepted_scenes(seed: int, items: Integers, *, evaluation: bool) -> Scenes:
    """For every item the first scene of its own sequence of attempts that can be a twin of this split."""
    chosen = draw(seed, items)
    waiting = np.arange(len(items))
    attempt = 0
    while len(waiting):
        attempted = draw(seed, items[waiting] + attempt * _ATTEMPT_STRIDE)
        fits = (
            (attempted.count >= 2)
            & (attempted.colour[:, 0] != attempted.colour[:, 1])
            & (attempted.shape[:, 0] != attempted.shape[:, 1])
            & (combination_is_for_evaluation(attempted) == evaluation)
        )
        for field in fields(chosen):
            getattr(chosen, field.name)[waiting[fits]] = getattr(attempted, field.name)[fits]
        waiting = waiting[~fits]
        attempt += 1
    return chosen


def _twin_sizes(size: Integers, kind: Integers) -> Integers:
    """In size items, the second object gets the other size than the first."""
    size = size.copy()
    rows = kind == KINDS.index("size")
    size[rows, 1] = 1 - size[rows, 0]
    return size


def _exchanged(a: Scenes, kind: Integers) -> Scenes:
    """Copy of the scenes in which objects 0 and 1 have exchanged what the kind of their item says."""
    changed = {name: getattr(a, name).copy() for name in ("colour", "shape", "size", "cell", "jitter")}
    exchanged_by_kind = (("colour",), ("shape",), ("size",), ("cell", "jitter"))
    for number, names in enumerate(exchanged_by_kind):
        rows = np.flatnonzero(kind == number)
        for name in names:
            changed[name][rows[:, None], [[0, 1]]] = changed[name][rows[:, None], [[1, 0]]]
    return replace(a, **changed)


def _captions(scene: Scenes, kind: int, draws: Draws) -> tuple[str, str]:
    """Captions a and b of one item; every concept has one word in both."""
    colours = [draws.pick(tables.COLOUR_WORDS[c]) for c in scene.colour[0, :2]]
    shapes = [draws.pick(tables.SHAPE_WORDS[s]) for s in scene.shape[0, :2]]
    sizes = [draws.pick(tables.SIZE_WORDS[s]) for s in scene.size[0, :2]]
    between = draws.pick(tables.RELATION_WORDS[relation(scene, 0, 0, 1)])

    def say(colour: list[str], shape: list[str], size: list[str]) -> str:
        parts = [[c, s] if KINDS[kind] != "size" else [z, c, s] for c, s, z in zip(colour, shape, size, strict=True)]
        first, second = (with_article(" ".join(part)) for part in parts)
        return f"{first} {between} {second}"

    swapped = {
        "colour": (colours[::-1], shapes, sizes),
        "shape": (colours, shapes[::-1], sizes),
        "size": (colours, shapes, sizes[::-1]),
        "relation": (colours[::-1], shapes[::-1], sizes[::-1]),
    }
    return say(colours, shapes, sizes), say(*swapped[KINDS[kind]])
