"""Scenes are the recorded ones, do not depend on their set, and follow the frozen preferences."""

import hashlib
from dataclasses import fields

import numpy as np
import pytest

from interp_plugins.embedded.world import Scenes, scenes, tables


def digest_of(drawn: Scenes) -> str:
    content = b"".join(
        np.ascontiguousarray(getattr(drawn, field.name), dtype="<i8").tobytes() for field in fields(drawn)
    )
    return hashlib.sha256(content).hexdigest()[:16]


def equal(one: Scenes, other: Scenes) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))


@pytest.fixture(scope="module")
def training_scenes() -> Scenes:
    return scenes("train")


@pytest.mark.parametrize(("split", "expected"), [("evaluation", "5005ec9d6af57ac5"), ("train", "24d5dbcc50023063")])
def test_the_first_hundred_scenes_are_the_recorded_ones(split, expected):
    assert digest_of(scenes(split, 0, 100)) == expected


def test_item_i_is_the_same_in_every_set():
    whole = scenes("evaluation")
    assert len(whole) == 1_024
    assert equal(whole.take(slice(300, 310)), scenes("evaluation", 300, 310))


def test_a_split_can_be_drawn_beyond_its_size():
    assert len(scenes("evaluation", 1_020, 1_100)) == 80


def test_splits_differ():
    assert not equal(scenes("evaluation", 0, 50), scenes("train", 0, 50))


def test_every_field_stays_in_its_range(training_scenes):
    expected = {
        "theme": (0, 11), "count": (1, 3), "colour": (0, 9), "shape": (0, 9), "texture": (0, 3), "size": (0, 1),
        "cell": (0, 8), "jitter": (-2, 2), "rotation": (0, 6), "light": (82, 118), "gradient": (-22, 22),
        "tint": (-10, 10), "object_tint": (-14, 14),
    }  # fmt: skip
    found = {name: (getattr(training_scenes, name).min(), getattr(training_scenes, name).max()) for name in expected}
    assert found == expected
    assert training_scenes.noise.min() >= 0
    assert 0.999 < training_scenes.noise.max() / 2**31 < 1


def test_the_objects_of_a_scene_stand_in_different_cells(training_scenes):
    cells = np.sort(training_scenes.cell, axis=1)
    assert (np.diff(cells, axis=1) > 0).all()


def test_themes_and_counts_have_their_shares(training_scenes):
    n = len(training_scenes)
    assert np.bincount(training_scenes.theme) / n == pytest.approx([1 / 12] * 12, abs=0.01)
    assert np.bincount(training_scenes.count)[1:] / n == pytest.approx([0.25, 0.45, 0.30], abs=0.015)


@pytest.mark.parametrize("theme", range(12))
def test_every_theme_prefers_what_the_table_says(training_scenes, theme):
    drawn = training_scenes.take(training_scenes.theme == theme)
    colour = np.bincount(drawn.colour.ravel(), minlength=10) / drawn.colour.size
    shape = np.bincount(drawn.shape.ravel(), minlength=10) / drawn.shape.size
    texture = np.bincount(drawn.texture.ravel(), minlength=4) / drawn.texture.size
    assert colour[list(tables.LIKED_COLOURS[theme])] == pytest.approx([1 / 3] * 2, abs=0.04)
    assert shape[list(tables.LIKED_SHAPES[theme])] == pytest.approx([1 / 3] * 2, abs=0.04)
    assert texture[tables.LIKED_TEXTURE[theme]] == pytest.approx(5 / 8, abs=0.04)


def test_nuisance_is_independent_of_the_theme(training_scenes):
    for name in ("light", "noise"):
        assert abs(np.corrcoef(training_scenes.theme, getattr(training_scenes, name))[0, 1]) < 0.03
