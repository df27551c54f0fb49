"""The counter-based hash gives splitmix64's published values and unbiased decisions."""

import numpy as np
import pytest

from interp_plugins.embedded.world import hashing

INCREMENT = 0x9E3779B97F4A7C15


def test_first_three_values_from_state_zero_are_those_of_splitmix64():
    states = np.array([0, INCREMENT, 2 * INCREMENT % 2**64], dtype=np.uint64)
    assert [hex(word) for word in hashing.step(states)] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_absorbing_gives_recorded_values():
    assert hex(hashing.absorb(1, 201, 0, 5)[0]) == "0x245d80daa721df85"


def test_absorbing_depends_on_the_order_of_counters():
    assert hashing.absorb(1, 2) != hashing.absorb(2, 1)


def test_between_reaches_both_ends_about_equally_often():
    drawn = hashing.between(hashing.absorb(3, np.arange(50_000)), -2, 2)
    counts = np.bincount(drawn + 2, minlength=5)
    assert drawn.min() == -2
    assert drawn.max() == 2
    assert np.abs(counts / 50_000 - 0.2).max() < 0.01


def test_weighted_draws_follow_their_integer_weights():
    drawn = hashing.weighted(hashing.absorb(4, np.arange(50_000)), np.cumsum([5, 9, 6]))
    assert np.bincount(drawn) / 50_000 == pytest.approx([0.25, 0.45, 0.30], abs=0.01)


def test_permutations_put_every_value_in_every_place():
    orders = hashing.permutation(hashing.absorb(5, np.arange(20_000)[:, None], np.arange(3)))
    assert (np.sort(orders, axis=1) == np.arange(3)).all()
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert counts / 20_000 == pytest.approx([1 / 6] * 6, abs=0.01)


def test_events_happen_with_their_probability_and_never_at_zero():
    words = hashing.absorb(6, np.arange(50_000)).tolist()
    for probability in (0.0, 0.12, 0.85, 1.0):
        threshold = hashing.event_threshold(probability)
        rate = np.mean([hashing.Draws([word]).happens(threshold) for word in words])
        assert rate == pytest.approx(probability, abs=0.01 if 0 < probability < 1 else 0)


def test_draws_are_used_one_after_the_other():
    draws = hashing.Draws([0, 2**63, 2**64 - 1])
    assert [draws.below(10), draws.below(10), draws.below(10)] == [0, 5, 9]
