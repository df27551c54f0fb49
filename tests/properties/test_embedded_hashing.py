"""Properties of the counter-based hash."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from interp_plugins.embedded.world import hashing

counters = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=6)


def slow_step(state: int) -> int:
    state = (state + 0x9E3779B97F4A7C15) % 2**64
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
    return state ^ state >> 31


@given(counters)
def test_absorbing_equals_the_same_in_unbounded_integers(values):
    state = 0
    for value in values:
        state = slow_step(state ^ value)
    assert int(hashing.absorb(*values)[0]) == state


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**31))
def test_an_integer_below_a_bound_is_below_it_and_equals_the_exact_product(word, bound):
    drawn = int(hashing.below(np.array([word], dtype=np.uint64), bound)[0])
    assert 0 <= drawn < bound
    assert drawn == (word >> 32) * bound >> 32
    assert hashing.Draws([word]).below(bound) == drawn


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_hashing_an_array_equals_hashing_its_elements(values):
    together = hashing.absorb(1, 2, np.array(values), 3)
    assert [int(word) for word in together] == [int(hashing.absorb(1, 2, value, 3)[0]) for value in values]
