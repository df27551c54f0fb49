"""Counter-based randomness: every draw of the world is a hash of where it is used, never a position in a stream.

So item ``i`` is the same in every set, and the world can be made lazily, in any order and in parallel. The mixing step is
splitmix64 (Steele, Lea and Flood 2014). No float takes part in a decision: integers below ``m`` are
``(high 32 bits * m) >> 32``, events compare the top 53 bits with an integer, categories use integer weights.

Axis letters: n items; a draw may have any trailing shape.
"""

import numpy as np
from numpy.typing import NDArray

_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)

Words = NDArray[np.uint64]
"""Arrays of 64-bit hashes. Always arrays: numpy warns when a scalar wraps, and is silent when an array does."""


def step(state: Words) -> Words:
    """One splitmix64 step: a bijective mix of each 64-bit state, uniform in 0 ... 2^64 - 1.

    From state 0, then each time state + 0x9E3779B97F4A7C15, the results begin 0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4.
    """
    z = state + _INCREMENT
    z = (z ^ (z >> np.uint64(30))) * _MULTIPLIER_1
    z = (z ^ (z >> np.uint64(27))) * _MULTIPLIER_2
    return z ^ (z >> np.uint64(31))


def absorb(*counters: int | NDArray[np.integer]) -> Words:
    """The hash of a sequence of counters, absorbed one after the other: ``h <- step(h xor counter)``, from ``h = 0``.

    Args:
        counters: non-negative integers or integer arrays that broadcast together.

    Returns:
        64-bit hashes with the broadcast shape, at least one-dimensional.
    """
    state: Words = np.zeros(1, dtype=np.uint64)
    for counter in counters:
        state = step(state ^ np.atleast_1d(np.asarray(counter)).astype(np.uint64))
    return state


def below(words: Words, bound: int) -> NDArray[np.int64]:
    """Integers in 0 ... bound - 1, uniform: ``(high 32 bits * bound) >> 32``. ``bound`` is at most 2^31."""
    return (((words >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def between(words: Words, low: int, high: int) -> NDArray[np.int64]:
    """Integers in low ... high, both ends included, uniform."""
    return below(words, high - low + 1) + low


def weighted(words: Words, cumulative: NDArray[np.int64]) -> NDArray[np.int64]:
    """Categories drawn with integer weights, given their cumulative sums along the last axis of ``cumulative``.

    Args:
        words: hashes of shape ``[...]``.
        cumulative: ``[k]``, or ``[..., k]`` with one row of thresholds per hash; the last column is the common total.

    Returns:
        Category numbers 0 ... k - 1 of shape ``[...]``.
    """
    drawn = below(words, int(cumulative.reshape(-1)[-1]))
    return (drawn[..., None] >= cumulative).sum(axis=-1)


def permutation(words: Words) -> NDArray[np.int64]:
    """A random order of the last axis: the stable sort of its hashes. Shape ``[..., k]`` in and out."""
    return np.argsort(words, axis=-1, kind="stable")


def event_threshold(probability: float) -> int:
    """The integer with which the top 53 bits of a hash are compared for an event: ``round(p * 2^53)``."""
    return round(probability * 2**53)


class Draws:
    """The decisions of one counter in their order: draw index 0, 1, 2, ... of one caption.

    Args:
        words: the hashes of this counter as Python integers, one per draw index.
    """

    def __init__(self, words: list[int]) -> None:
        self._words = iter(words)

    def word(self) -> int:
        """The next 64-bit hash."""
        return next(self._words)

    def below(self, bound: int) -> int:
        """An integer in 0 ... bound - 1."""
        return ((self.word() >> 32) * bound) >> 32

    def happens(self, threshold: int) -> bool:
        """Whether an event happens, whose ``event_threshold`` is given."""
        return (self.word() >> 11) < threshold

    def pick(self, options: tuple[str, ...]) -> str:
        """One of the options, uniformly."""
        return options[self.below(len(options))]

    def order(self, size: int) -> list[int]:
        """A random order of 0 ... size - 1."""
        words = [self.word() for _ in range(size)]
        return sorted(range(size), key=words.__getitem__)
