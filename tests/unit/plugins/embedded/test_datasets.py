"""The embedded data sets give the world's samples, and refuse what they cannot give."""

import numpy as np
import pytest

from interp_plugins.embedded import datasets
from interp_plugins.embedded.config import ShapesConfig, ShapesTwinsConfig
from interp_plugins.embedded.world import KINDS, captions, join, render, same_words, scenes
from interp_registry.errors import ConfigError, DataError


def test_a_sample_holds_the_picture_and_all_captions_of_its_scene():
    shapes = ShapesConfig(limit=300).build()
    sample = shapes[257]
    assert list(sample.captions) == captions("evaluation", 257, 258)[0]
    assert np.array_equal(np.asarray(sample.image), render(scenes("evaluation", 257, 258))[0])
    assert shapes.text(257, 3) == sample.captions[3]
    assert shapes.captions_of(257) == sample.captions


def test_several_captions_per_item_are_joined_from_the_asked_one_on():
    shapes = ShapesConfig(captions_per_item=3, limit=10).build()
    texts = captions("evaluation", 4, 5)[0]
    assert shapes.text(4) == join(texts[:3])
    assert shapes.text(4, 3) == join([texts[3], texts[4], texts[0]])
    assert shapes[4].captions[3] == shapes.text(4, 3)


def test_reading_in_any_order_gives_the_same_pictures():
    forwards, backwards = ShapesConfig(limit=200).build(), ShapesConfig(limit=200).build()
    indices = (0, 130, 5, 199)
    in_order = [np.asarray(forwards.image(index)) for index in indices]
    reverse = [np.asarray(backwards.image(index)) for index in reversed(indices)][::-1]
    assert all(np.array_equal(one, other) for one, other in zip(in_order, reverse, strict=True))


def test_sizes_are_those_of_the_splits():
    assert len(ShapesConfig().build()) == 1_024
    assert len(ShapesConfig(split="train").build()) == 12_000
    assert len(ShapesTwinsConfig().build()) == 400


def test_the_fingerprint_changes_with_every_option_and_nothing_else():
    configs = [ShapesConfig(), ShapesConfig(split="train"), ShapesConfig(captions_per_item=2), ShapesConfig(limit=9)]
    configs += [ShapesTwinsConfig(), ShapesTwinsConfig(limit=9)]
    fingerprints = [config.build().fingerprint for config in configs]
    assert len(set(fingerprints)) == len(configs)
    assert ShapesConfig(limit=1_024).build().fingerprint == fingerprints[0]


def test_samples_have_keys_of_their_own():
    shapes = ShapesConfig(limit=50).build()
    assert len({shapes.key(index) for index in range(50)}) == 50
    assert shapes[7].key == shapes.key(7)


def test_a_twin_holds_two_pictures_and_two_captions_of_the_same_words():
    twins = ShapesTwinsConfig(limit=8).build()
    for index in range(8):
        sample = twins[index]
        assert sample.kind == KINDS[index % 4]
        assert same_words(*sample.captions)
        assert not np.array_equal(np.asarray(sample.images[0]), np.asarray(sample.images[1]))


@pytest.mark.parametrize("n_captions", [0, 6])
def test_an_impossible_number_of_captions_is_refused(n_captions):
    with pytest.raises(ConfigError, match=r"1 \.\.\. 5") as caught:
        ShapesConfig(captions_per_item=n_captions).build()
    assert caught.value.key == "captions_per_item"


@pytest.mark.parametrize("config", [ShapesConfig(limit=0), ShapesTwinsConfig(limit=0)], ids=["shapes", "twins"])
def test_an_empty_data_set_is_refused(config):
    with pytest.raises(ConfigError, match="limit"):
        config.build()


def test_a_caption_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="'evaluation-00000' of shapes has 5 texts, so none at index 5"):
        ShapesConfig(limit=2).build().text(0, 5)


def test_captions_are_read_without_drawing_a_picture(monkeypatch):
    monkeypatch.setattr(datasets, "render", None)
    shapes = ShapesConfig(limit=3).build()
    assert shapes.select(2, seed=0).captions_of(0)[1] == shapes.select(2, seed=0).text(0, 1)


def test_an_index_outside_is_refused_and_the_end_ends_iteration():
    shapes = ShapesConfig(limit=3).build()
    assert len(list(shapes)) == 3
    assert shapes[-1].key == shapes[2].key
    with pytest.raises(IndexError):
        shapes[3]
