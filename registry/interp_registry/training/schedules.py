"""Schedules of numbers over training steps: learning rates, temperatures, coefficients. Pure arithmetic, no torch.

With ``w`` warm-up steps, ``h`` steps of holding and ``T`` steps in all, the progress of step ``t`` (0, 1, ..., T - 1) is

    q(t) = clamp((t - w - h) / (T - w - h - k), 0, 1),   k = 1 when the end is reached at the last step, else 0,

and the value is ``end + (start - end) * shape(q)`` with ``shape(0) = 1`` and, but for the constant, ``shape(1) = 0``. Warm-up multiplies by
``min(1, (t + 1) / w)``. Exponential decay is ``start * (end / start)^q``, or ``start * 2^(-(t - w - h) / half_life)``.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from interp_registry.errors import ConfigError

__all__ = ["Schedule", "ScheduleConfig", "Shape", "parse_duration"]

Schedule: TypeAlias = Callable[[int], float]
"""Step -> value."""

Shape: TypeAlias = Literal["constant", "linear", "cosine", "cosine_quarter", "exponential"]

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|e|%|)")


def _half_cosine(q: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * q))


_SHAPES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "constant": lambda q: 1.0,  # noqa: ARG005 - one signature for all shapes
        "linear": lambda q: 1.0 - q,
        "cosine": _half_cosine,
        "cosine_quarter": lambda q: math.cos(0.5 * math.pi * q) if q < 1.0 else 0.0,
    }
)


def parse_duration(text: str, total: int, steps_per_epoch: int | None = None) -> int:
    """Number of steps in ``100``, ``100s`` (steps), ``2e`` (epochs) or ``20%`` (of ``total``); fractions are rounded down.

    Args:
        text: The duration.
        total: Steps of the whole training.
        steps_per_epoch: Steps of one pass over the data, where that is known.

    Raises:
        ConfigError: The text is no duration (negative ones are none), or epochs are not known here.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{text!r} is no duration", hint="write 100 or 100s (steps), 2e (epochs) or 20%")
    number, unit = float(match["number"]), match["unit"]
    if unit == "%":
        return int(number * total / 100)
    if unit == "e":
        if steps_per_epoch is None:
            raise ConfigError(f"{text!r} counts epochs, which this training does not have", hint="write steps or %")
        return int(number * steps_per_epoch)
    if not number.is_integer():
        raise ConfigError(f"{text!r} is no whole number of steps")
    return int(number)


@dataclass
class ScheduleConfig:
    """How a number changes over the steps of a training. For a learning rate it is a factor of the optimiser's rate."""

    shape: Shape = "constant"
    """constant, linear, cosine (half a period), cosine_quarter (a quarter of a period) or exponential"""
    start: float = 1.0
    """value after warm-up"""
    end: float = 0.0
    """value at the end (constant: not used; exponential: greater than 0 unless half_life is given)"""
    warmup: str = "0"
    """linear warm-up from nothing: 100 or 100s (steps), 2e (epochs), 5% (of the training)"""
    hold: str = "0"
    """how long to stay at the start value before the decay"""
    length: str | None = None
    """when the end is reached; default: with the training"""
    half_life: str | None = None
    """exponential only: after how long the value is halved"""
    reach: Literal["after", "last"] = "after"
    """whether the end value would come one step after the last (linear: 1 - t/T), or is the last step's (1 - t/(T - 1))"""
    overlap: bool = False
    """let the decay begin with the warm-up instead of after it"""
    warmup_from_zero: bool = False
    """begin the warm-up with the value 0 (t/w) instead of one w-th ((t + 1)/w)"""

    def build(self, total: int, steps_per_epoch: int | None = None) -> Schedule:
        """The schedule as a function of the step; steps beyond the end keep the end value.

        Args:
            total: Steps of the whole training, at least 1.
            steps_per_epoch: Steps of one pass over the data, where durations may count epochs.

        Raises:
            ConfigError: A duration is none, the parts are longer than the whole, or the numbers do not fit the shape.
        """
        if total < 1:
            raise ConfigError(f"a schedule over {total} steps", hint="train for at least one step")

        def steps(text: str) -> int:
            return parse_duration(text, total, steps_per_epoch)

        length = total if self.length is None else steps(self.length)
        warmup, hold = steps(self.warmup), steps(self.hold)
        offset = hold + (0 if self.overlap else warmup)
        if max(offset, warmup) > length:
            raise ConfigError(f"warm-up of {warmup} and hold of {hold} steps do not fit into {length} steps")
        decay = self._exponential(steps, offset, length) if self.shape == "exponential" else self._decay(offset, length)
        if not warmup:
            return decay
        first = 0 if self.warmup_from_zero else 1
        return lambda step: min(1.0, (step + first) / warmup) * decay(step)

    def _decay(self, offset: int, length: int) -> Schedule:
        shape, start, end = _SHAPES[self.shape], self.start, self.end
        span = length - offset - (self.reach == "last")
        return lambda step: end + (start - end) * shape(_progress(step - offset, span))

    def _exponential(self, steps: Callable[[str], int], offset: int, length: int) -> Schedule:
        start, end = self.start, self.end
        if self.half_life is not None:
            half = steps(self.half_life)
            if half < 1:
                raise ConfigError(f"a half-life of {half} steps is too short", key="half_life")
            return lambda step: start * 0.5 ** (max(0, step - offset) / half)
        if start <= 0 or end <= 0:
            raise ConfigError(f"exponential decay from {start} to {end}: both must be greater than 0", key="end")
        span = length - offset - (self.reach == "last")
        return lambda step: start * (end / start) ** _progress(step - offset, span)


def _progress(step: int, span: int) -> float:
    """How much of ``span`` steps is over, in [0, 1]."""
    if step <= 0:
        return 0.0
    return min(1.0, step / span) if span > 0 else 1.0
