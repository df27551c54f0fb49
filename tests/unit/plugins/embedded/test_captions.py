"""Captions are the recorded ones, say only what is true and never nuisance, and have the repaired grammar."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from interp_plugins.embedded.world import captions, documents, join, scenes, tables
from interp_plugins.embedded.world.grammar import SceneReader
from interp_plugins.embedded.world.hashing import Draws, absorb

STRUCTURE = {
    "a", "an", "and", "at", "in", "the", "of", "corner", "edge", "next", "to", "with", "two", "three", "shapes", "things",
    "picture", "there", "is", "are", "here", "we", "see", ",", ":", ".", "middle", "centre",
}  # fmt: skip


@pytest.fixture(scope="module")
def training_captions() -> list[list[str]]:
    return captions("train", 0, 3_000)


def test_the_evaluation_captions_are_the_recorded_ones():
    text = "\n".join("\n".join(of_item) for of_item in captions("evaluation"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "237afe38586ca5f5"


def test_caption_j_of_item_i_is_the_same_in_every_set():
    whole = captions("evaluation")
    assert [len(of_item) for of_item in whole] == [5] * 1_024
    assert captions("evaluation", 700, 703, captions_per_item=2) == [of_item[:2] for of_item in whole[700:703]]


def test_captions_use_the_words_of_the_tables_only(training_captions):
    groups = (*tables.COLOUR_WORDS, *tables.SHAPE_WORDS, *tables.TEXTURE_WORDS, *tables.SIZE_WORDS)
    phrases = (*tables.RELATION_WORDS, *tables.ROW_WORDS, *tables.COLUMN_WORDS, *tables.THEME_PHRASES)
    allowed = STRUCTURE | {word for group in groups for word in group} | set(tables.GENERIC_SHAPE_WORDS)
    allowed |= {word for group in phrases for phrase in group for word in phrase.split()}
    said = {word for of_item in training_captions for text in of_item for word in text.replace(",", " ,").split()}
    assert said - allowed == set()
    assert len(said) > 200


@pytest.mark.parametrize("nuisance", ["rotation", "light", "gradient", "tint", "object_tint", "noise"])
def test_nuisance_does_not_change_a_caption(nuisance):
    drawn, other = scenes("evaluation", 0, 40), scenes("evaluation", 500, 540)
    changed = replace(drawn, **{nuisance: getattr(other, nuisance)})
    for row in range(len(drawn)):
        words = absorb(9, row, np.arange(72)).tolist()
        assert SceneReader(drawn, row).caption(Draws(words)) == SceneReader(changed, row).caption(Draws(words))


def test_said_colours_and_themes_are_those_of_the_scene():
    drawn = scenes("train", 0, 300)
    colour_of = {word: index for index, words in enumerate(tables.COLOUR_WORDS) for word in words}
    theme_of = {phrase: index for index, phrases in enumerate(tables.THEME_PHRASES) for phrase in phrases}
    n_colours = 0
    for row, texts in enumerate(captions("train", 0, 300)):
        present = set(drawn.colour[row, : drawn.count[row]].tolist())
        for text in texts:
            themes = {theme for phrase, theme in theme_of.items() if text.removesuffix(" .").endswith(f" {phrase}")}
            themes = themes if len(themes) == 1 else set()
            said = [colour_of[word] for word in text.replace(",", " ,").split() if word in colour_of]
            n_colours += len(said)
            assert set(said) <= present
            assert themes <= {int(drawn.theme[row])}
    assert n_colours > 1_000


def test_a_count_is_said_only_when_all_objects_are_mentioned(training_captions):
    nouns = {word for words in tables.SHAPE_WORDS for word in words} | set(tables.GENERIC_SHAPE_WORDS)
    counted = [text for of_item in training_captions for text in of_item if "shapes :" in text or "things ," in text]
    assert len(counted) > 100
    for text in counted:
        number = 2 if "two " in text else 3
        assert sum(word.rstrip(",") in nouns for word in text.split()) == number, text


def test_repaired_phrases_do_not_occur(training_captions):
    whole = "\n".join(text for of_item in training_captions for text in of_item)
    for nit in (
        "there is two",
        "there is three",
        "middle middle",
        "central right corner",
        "middle left corner",
        " a a",
        " an e e",
    ):
        assert nit not in whole


def test_themes_and_full_stops_occur_as_often_as_planned(training_captions):
    texts = [text for of_item in training_captions for text in of_item]
    with_theme = np.mean([any(phrase in text for group in tables.THEME_PHRASES for phrase in group) for text in texts])
    assert with_theme == pytest.approx(0.75, abs=0.02)
    assert np.mean([text.endswith(" .") for text in texts]) == pytest.approx(0.5, abs=0.02)


def test_nearly_all_captions_are_unique(training_captions):
    texts = [text for of_item in training_captions for text in of_item]
    assert len(set(texts)) / len(texts) > 0.99


def test_joining_leaves_no_double_full_stop():
    assert join(["a red box .", "a blue box ."]) == "a red box . a blue box ."
    assert join(["a red box", "a blue box"]) == "a red box . a blue box"
    assert not any(". ." in text for text in documents(captions("train", 0, 200)))


def test_every_item_gives_four_documents_of_two_of_its_captions():
    texts = [["w", "x", "y", "z"]]
    assert documents(texts) == ["w . x", "y . z", "x . y", "z . w"]
