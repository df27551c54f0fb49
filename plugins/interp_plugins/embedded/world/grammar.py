"""Captions: several English paraphrases of a scene, each of which leaves out much and never mentions nuisance.

One counter per (split seed, item, caption index) and one draw index per decision, so that caption j of item i is the
same whatever else is asked for.
"""

from typing import Final

import numpy as np

from interp_plugins.embedded.world import tables
from interp_plugins.embedded.world.hashing import Draws, absorb, event_threshold
from interp_plugins.embedded.world.sampling import SPLITS, Scenes, draw

_MAX_DRAWS = 72

_MENTION_OTHER: Final = event_threshold(0.8)
_SIZE: Final = event_threshold(0.5)
_TEXTURE: Final = event_threshold(0.65)
_SOLID_TEXTURE: Final = event_threshold(0.12)
_COLOUR: Final = event_threshold(0.85)
_SHUFFLE_WORDS: Final = event_threshold(0.25)
_SHAPE: Final = event_threshold(0.93)
_POSITION: Final = event_threshold(0.3)
_IN_ROW_COLUMN: Final = event_threshold(0.6)
_RELATION: Final = event_threshold(0.4)
_COUNT: Final = event_threshold(0.10)
_THEME: Final = event_threshold(0.75)
_THEME_AFTER: Final = event_threshold(0.7)
_HALF: Final = event_threshold(0.5)


def captions(
    split: str, start: int = 0, stop: int | None = None, captions_per_item: int | None = None
) -> list[list[str]]:
    """The captions of items ``start`` ... ``stop - 1``: one list of ``captions_per_item`` strings per item.

    Args:
        split: ``"train"`` or ``"evaluation"``.
        start: first item.
        stop: one past the last item; by default the size of the split.
        captions_per_item: by default four in training and five in evaluation; caption j does not depend on it.

    Raises:
        KeyError: there is no such split.
    """
    chosen = SPLITS[split]
    items = np.arange(start, chosen.size if stop is None else stop, dtype=np.int64)
    n_captions = chosen.n_captions if captions_per_item is None else captions_per_item
    scenes = draw(chosen.scene_seed, items)
    counters = (items[:, None, None], np.arange(n_captions)[:, None], np.arange(_MAX_DRAWS))
    words = absorb(tables.WORLD_VERSION, chosen.caption_seed, *counters).tolist()
    readers = [SceneReader(scenes, row) for row in range(len(items))]
    return [[reader.caption(Draws(one)) for one in of_item] for reader, of_item in zip(readers, words, strict=True)]


def join(texts: list[str]) -> str:
    """Several captions as one document: joined by " . ", without a full stop of their own in between."""
    return " . ".join([text.removesuffix(" .") for text in texts[:-1]] + texts[-1:])


def documents(captions_of_items: list[list[str]]) -> list[str]:
    """The training documents of the language models: captions "0 . 1", "2 . 3", "1 . 2", "3 . 0" of every item.

    Two paraphrases of one scene make next-token prediction reward scene content and synonyms.
    """
    pairs = ((0, 1), (2, 3), (1, 2), (3, 0))
    return [join([of_item[i], of_item[j]]) for of_item in captions_of_items for i, j in pairs]


def with_article(phrase: str) -> str:
    """The phrase with "an" before a vowel letter and "a" otherwise."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def relation(scenes: Scenes, row: int, first: int, second: int) -> int:
    """How object ``first`` stands to object ``second``: LEFT, RIGHT, ABOVE or BELOW, along the longer axis."""
    centres = scenes.centres()[row] if len(scenes) == 1 else scenes.take(slice(row, row + 1)).centres()[0]
    dx, dy = (int(value) for value in centres[first] - centres[second])
    if abs(dx) >= abs(dy):
        return tables.LEFT if dx < 0 else tables.RIGHT
    return tables.ABOVE if dy < 0 else tables.BELOW


class SceneReader:
    """Says one scene in words.

    Args:
        scenes: the scenes.
        row: which of them.
    """

    def __init__(self, scenes: Scenes, row: int) -> None:
        self._scenes = scenes
        self._row = row
        self._theme = int(scenes.theme[row])
        self._count = int(scenes.count[row])
        self._objects = [
            (
                int(scenes.size[row, k]),
                int(scenes.texture[row, k]),
                int(scenes.colour[row, k]),
                int(scenes.shape[row, k]),
            )
            for k in range(self._count)
        ]
        self._cells = [int(cell) for cell in scenes.cell[row]]

    def caption(self, draws: Draws) -> str:
        """One caption, decided by the draws."""
        order = draws.order(self._count)
        mentioned = order[:1] + [k for k in order[1:] if draws.happens(_MENTION_OTHER)]
        phrases = [self._noun_phrase(k, draws) + self._position(k, draws) for k in mentioned]
        text = self._joined(phrases, mentioned, draws)
        frames = tables.FRAMES
        if self._count > 1 and draws.happens(_COUNT) and len(mentioned) == self._count:
            number = tables.COUNT_WORDS[self._count - 1]
            prefix = f"{number} shapes :" if draws.happens(_HALF) else f"{number} things ,"
            text, frames = f"{prefix} {text}", tables.PLURAL_FRAMES
        text = draws.pick(frames).format(text)
        if draws.happens(_THEME):
            phrase = draws.pick(tables.THEME_PHRASES[self._theme])
            text = f"{text} {phrase}" if draws.happens(_THEME_AFTER) else f"{phrase} , {text}"
        return f"{text} ." if draws.happens(_HALF) else text

    def _noun_phrase(self, k: int, draws: Draws) -> str:
        size, texture, colour, shape = self._objects[k]
        words: list[str] = []
        if draws.happens(_SIZE):
            words.append(draws.pick(tables.SIZE_WORDS[size]))
        if draws.happens(_TEXTURE if texture else _SOLID_TEXTURE):
            words.append(draws.pick(tables.TEXTURE_WORDS[texture]))
        if draws.happens(_COLOUR):
            words.append(draws.pick(tables.COLOUR_WORDS[colour]))
        if len(words) > 1 and draws.happens(_SHUFFLE_WORDS):
            words = [words[i] for i in draws.order(len(words))]
        words.append(draws.pick(tables.SHAPE_WORDS[shape] if draws.happens(_SHAPE) else tables.GENERIC_SHAPE_WORDS))
        return with_article(" ".join(words))

    def _position(self, k: int, draws: Draws) -> str:
        if not draws.happens(_POSITION):
            return ""
        row, column = divmod(self._cells[k], 3)
        if (row, column) == (1, 1):
            return " in the middle" if draws.happens(_HALF) else " in the centre"
        within = draws.happens(_IN_ROW_COLUMN)
        row_word, column_word = draws.pick(tables.ROW_WORDS[row]), draws.pick(tables.COLUMN_WORDS[column])
        if within:
            return f" in the {row_word} {column_word}"
        if row == 1:
            return f" at the {column_word} edge"
        return f" at the {row_word} edge" if column == 1 else f" at the {row_word} {column_word} corner"

    def _joined(self, phrases: list[str], mentioned: list[int], draws: Draws) -> str:
        if len(phrases) == 1:
            return phrases[0]
        if draws.happens(_RELATION):
            words = tables.RELATION_WORDS[relation(self._scenes, self._row, mentioned[0], mentioned[1])]
            text = f"{phrases[0]} {draws.pick(words)} {phrases[1]}"
            return f"{text} and {phrases[2]}" if len(phrases) == 3 else text
        if len(phrases) == 2:
            return draws.pick((" and ", " next to ", " with ")).join(phrases)
        return f"{phrases[0]}, {phrases[1]} and {phrases[2]}"
