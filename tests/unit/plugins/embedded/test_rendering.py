"""Pictures are the recorded ones, do not depend on the batch, and show what the scene says."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from interp_plugins.embedded.world import render, scenes, tables

RECORDED_FIRST_64 = "3bc4c902f6db8efa"
"""Pictures of other platforms may differ by one grey level; then this hash differs and the reference test decides."""


def test_the_first_64_pictures_are_the_recorded_ones():
    pictures = render(scenes("evaluation", 0, 64))
    assert pictures.shape == (64, 64, 64, 3)
    assert hashlib.sha256(pictures.tobytes()).hexdigest()[:16] == RECORDED_FIRST_64


def test_a_picture_does_not_depend_on_its_batch():
    together = render(scenes("evaluation", 0, 150))
    assert np.array_equal(together[140], render(scenes("evaluation", 140, 141))[0])


def test_object_slots_beyond_the_count_are_not_drawn():
    drawn = scenes("evaluation", 0, 60)
    single = drawn.take(drawn.count == 1)
    other = replace(single, colour=np.where(np.arange(3) > 0, 9 - single.colour, single.colour))
    assert np.array_equal(render(single), render(other))


@pytest.mark.parametrize("shape", range(10), ids=tables.SHAPES)
def test_every_shape_changes_pixels_in_its_own_cell_only(shape):
    one = scenes("evaluation", 0, 1)
    centred = replace(
        one,
        count=np.array([1]),
        cell=np.array([[4, 0, 1]]),
        jitter=np.zeros_like(one.jitter),
        size=np.array([[1, 0, 0]]),
        shape=np.full_like(one.shape, shape),
    )
    empty = replace(centred, count=np.array([0]))
    changed = (render(centred) != render(empty)).any(axis=-1)[0]
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert changed.sum() > 100
    assert rows.min() >= 32 - 14
    assert rows.max() <= 32 + 14
    assert columns.min() >= 32 - 14
    assert columns.max() <= 32 + 14


def test_light_scales_the_whole_picture():
    one = scenes("evaluation", 5, 6)
    dim, bright = (render(replace(one, light=np.array([level]))).astype(float).mean() for level in (82, 118))
    assert 1.3 < bright / dim < 1.45
