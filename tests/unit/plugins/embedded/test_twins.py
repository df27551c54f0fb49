"""Twins: the same words twice, one exchange, and nothing shared between evaluation and training."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest

from interp_plugins.embedded.world import KINDS, Twins, same_words, tables, twins
from interp_plugins.embedded.world.grammar import relation


@pytest.fixture(scope="module")
def evaluation() -> Twins:
    return twins("evaluation")


def test_the_twins_are_the_recorded_ones(evaluation):
    text = "\n".join(evaluation.captions_a + evaluation.captions_b)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "148f61812c59dfc6"


def test_item_i_is_the_same_in_every_set(evaluation):
    few = twins("evaluation", 30, 36)
    assert few.captions_a == evaluation.captions_a[30:36]
    assert np.array_equal(few.b.noise, evaluation.b.noise[30:36])


def test_kinds_take_turns(evaluation):
    assert np.bincount(evaluation.kind).tolist() == [100] * 4


def test_both_captions_are_made_of_the_same_words_and_differ(evaluation):
    pairs = list(zip(evaluation.captions_a, evaluation.captions_b, strict=True))
    assert sum(not same_words(one, other) for one, other in pairs) == 0
    assert all(one != other for one, other in pairs)


def test_other_words_are_noticed():
    assert not same_words("a red box", "a red red box")
    assert same_words("an amber box above a ring", "a ring above an amber box")


def test_exactly_the_kind_of_the_item_is_exchanged(evaluation):
    names = {"colour": ("colour",), "shape": ("shape",), "size": ("size",), "relation": ("cell", "jitter")}
    for number, kind in enumerate(KINDS):
        rows = evaluation.kind == number
        for name in ("colour", "shape", "size", "texture", "cell", "jitter"):
            a, b = getattr(evaluation.a, name)[rows][:, :2], getattr(evaluation.b, name)[rows][:, :2]
            expected = a[:, ::-1] if name in names[kind] else a
            assert np.array_equal(b, expected), (kind, name)


def test_twins_do_not_share_their_nuisance(evaluation):
    for name in ("light", "noise", "gradient"):
        assert (getattr(evaluation.a, name) == getattr(evaluation.b, name)).mean() < 0.05


def test_both_captions_are_true_of_their_picture(evaluation):
    """Read the caption back: words to concepts, and compare with the two objects of the scene."""
    colours = {word: index for index, words in enumerate(tables.COLOUR_WORDS) for word in words}
    shapes = {word: index for index, words in enumerate(tables.SHAPE_WORDS) for word in words}
    relations = {word: index for index, words in enumerate(tables.RELATION_WORDS) for word in words}
    for side, texts in ((evaluation.a, evaluation.captions_a), (evaluation.b, evaluation.captions_b)):
        for row, text in enumerate(texts):
            said = [(colours[c], shapes[s]) for c, s in _objects(text, colours, shapes)]
            scene = side.take(slice(row, row + 1))
            shown = [(int(scene.colour[0, k]), int(scene.shape[0, k])) for k in range(2)]
            first, second = (0, 1) if said == shown else (1, 0)
            assert said == [shown[first], shown[second]]
            word = next(phrase for phrase in relations if f" {phrase} a" in text)
            assert relation(scene, 0, first, second) == relations[word]


def _objects(text: str, colours: dict[str, int], shapes: dict[str, int]) -> list[tuple[str, str]]:
    words = text.split()
    pairs = pairwise(words)
    return [(one, other) for one, other in pairs if one in colours and other in shapes]


def test_no_caption_of_the_evaluation_occurs_in_training(evaluation):
    training = twins("train", 0, 3_000)
    seen = set(training.captions_a) | set(training.captions_b)
    assert not seen & (set(evaluation.captions_a) | set(evaluation.captions_b))


def test_no_combination_of_the_evaluation_occurs_in_training_whatever_the_synonyms(evaluation):
    def combinations(items: Twins) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
        rows = zip(items.a.colour[:, :2].tolist(), items.a.shape[:, :2].tolist(), strict=True)
        return {(tuple(sorted(colour)), tuple(sorted(shape))) for colour, shape in rows}

    assert not combinations(evaluation) & combinations(twins("train", 0, 3_000))
