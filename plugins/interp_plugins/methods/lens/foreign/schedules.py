"""Schedules of Consistency Lens in this tool's terms: equal at every step of the training.

With ``q = min(1, t / n)``: linear ``s + q (e - s)``, cosine ``e + (s - e) (1 + cos(pi q)) / 2``; exponential
``s (e / s)^(t / n)``, which is not held at ``n``. ``n`` is ``num_steps``; left out or -1 it is the number of steps of the training. (That
tool takes -1 as it stands, so that a linear schedule moves away from its end for ever; its own comment says what is done here.)
"""

from collections.abc import Mapping
from typing import Any

from interp_registry.errors import ConfigError

__all__ = ["translate_schedule"]

_SHAPES = {
    "linear_decay": "linear",
    "linear_warmup": "linear",
    "cosine_anneal": "cosine",
    "exponential_decay": "exponential",
}


def translate_schedule(given: Mapping[str, Any], key: str, total: int, factor: float = 1.0) -> dict[str, Any]:
    """A schedule as the fields of `interp_registry.training.schedules.ScheduleConfig`.

    Args:
        given: ``type`` with ``value``, or with ``start_value``, ``end_value`` and ``num_steps``.
        key: Where it stands, for messages.
        total: Steps of the training.
        factor: What its values are multiplied by.

    Raises:
        ConfigError: A field is unknown, missing or no number; the message names it.
    """
    kind = given.get("type")
    if kind == "constant":
        _only(given, {"type", "value"}, key)
        return {"shape": "constant", "start": factor * _number(given, "value", key)}
    if kind not in _SHAPES:
        raise ConfigError(f"{kind!r} is no schedule", f"{key}.type", f"known: constant, {', '.join(_SHAPES)}")
    _only(given, {"type", "start_value", "end_value", "num_steps"}, key)
    start, end = _number(given, "start_value", key), _number(given, "end_value", key)
    steps = given.get("num_steps", -1)
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < -1:
        raise ConfigError(f"{steps!r} is no number of steps", f"{key}.num_steps", "-1 stands for the whole training")
    steps = total if steps == -1 else steps
    if steps == 0:
        return {"shape": "constant", "start": factor * end}
    if kind == "exponential_decay":
        if start <= 0 or end <= 0:
            raise ConfigError(f"exponential from {start} to {end}: both must be greater than 0", key)
        end, steps = start * (end / start) ** (total / steps), total
    return {"shape": _SHAPES[str(kind)], "start": factor * start, "end": factor * end, "length": str(steps)}


def _only(given: Mapping[str, Any], known: set[str], key: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigError("this field of a schedule cannot be translated", f"{key}.{name}")


def _number(given: Mapping[str, Any], name: str, key: str) -> float:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{value!r} is no number", f"{key}.{name}")
    return float(value)
