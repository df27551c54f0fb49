"""Schedules of numbers over steps."""

import itertools
import math

import pytest

from interp_registry.errors import ConfigError
from interp_registry.training.schedules import ScheduleConfig, parse_duration


@pytest.mark.parametrize(
    ("text", "steps"),
    [("100", 100), ("100s", 100), ("2e", 14), ("0.5e", 3), ("20%", 40), ("0", 0), (" 7 ", 7), ("100%", 200)],
)
def test_durations_count_steps_epochs_and_percents(text: str, steps: int):
    assert parse_duration(text, total=200, steps_per_epoch=7) == steps


@pytest.mark.parametrize("text", ["-1", "1.5", "", "ten", "5x", "1e-3", "%", "nan"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"duration|whole number"):
        parse_duration(text, total=100)


def test_epochs_are_refused_where_there_are_none():
    with pytest.raises(ConfigError, match="epochs"):
        parse_duration("2e", total=100)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ScheduleConfig("constant", start=0.7), lambda t: 0.7),
        (ScheduleConfig("linear"), lambda t: 1 - t / 50),
        (ScheduleConfig("linear", start=2, end=1, reach="last"), lambda t: 2 - t / 49),
        (ScheduleConfig("cosine", end=0.1), lambda t: 0.1 + 0.45 * (1 + math.cos(math.pi * t / 50))),
        (ScheduleConfig("cosine_quarter", reach="last"), lambda t: math.cos(math.pi / 2 * t / 49)),
        (ScheduleConfig("exponential", half_life="10"), lambda t: 0.5 ** (t / 10)),
        (ScheduleConfig("exponential", start=4, end=1), lambda t: 4 * 0.25 ** (t / 50)),
        (ScheduleConfig("linear", start=0, end=3, length="25"), lambda t: min(3, 3 * t / 25)),
        (ScheduleConfig("linear", hold="10"), lambda t: 1 - max(0, t - 10) / 40),
        (ScheduleConfig("linear", hold="10", warmup="5"), lambda t: min(1, (t + 1) / 5) * (1 - max(0, t - 15) / 35)),
    ],
)
def test_shapes_follow_their_formulas(config: ScheduleConfig, expected):
    schedule = config.build(50)
    assert [schedule(t) for t in range(50)] == pytest.approx([expected(t) for t in range(50)], abs=1e-12)


def test_the_recipe_of_the_embedded_zoo():
    schedule = ScheduleConfig("cosine", end=0.05, warmup="30", overlap=True).build(400)
    expected = [min(1, (s + 1) / 30) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / 400))) for s in range(400)]
    assert [schedule(s) for s in range(400)] == pytest.approx(expected, abs=1e-15)


def test_the_two_schedules_of_published_parameter_decomposition():
    warmup, total = 10, 100
    early = ScheduleConfig("cosine_quarter", warmup="10%", reach="last", warmup_from_zero=True).build(total)
    late = ScheduleConfig("cosine", end=0.1, warmup="10%", reach="last", warmup_from_zero=True).build(total)
    for t in range(total):
        q = (t - warmup) / (total - warmup - 1)
        assert early(t) == pytest.approx(t / warmup if t < warmup else math.cos(math.pi / 2 * q), abs=1e-12)
        assert late(t) == pytest.approx(t / warmup if t < warmup else 0.1 + 0.45 * (1 + math.cos(math.pi * q)))


@pytest.mark.parametrize("shape", ["linear", "cosine", "cosine_quarter", "exponential"])
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.1), (0.2, 3.0)])
def test_a_schedule_starts_and_ends_where_it_says_and_goes_one_way(shape, start, end):
    schedule = ScheduleConfig(shape, start=start, end=end, hold="5", reach="last").build(40)
    values = [schedule(t) for t in range(60)]
    assert values[0] == values[5] == pytest.approx(start)
    assert values[39] == pytest.approx(end)
    assert values[39:] == [values[39]] * 21
    differences = [b - a for a, b in itertools.pairwise(values)]
    assert all(d * (end - start) >= 0 for d in differences)


def test_a_schedule_of_one_step_is_defined():
    for shape in ("constant", "linear", "cosine", "cosine_quarter"):
        for reach in ("after", "last"):
            assert math.isfinite(ScheduleConfig(shape, reach=reach).build(1)(0))


@pytest.mark.parametrize(
    ("config", "total"),
    [
        (ScheduleConfig(), 0),
        (ScheduleConfig("linear", warmup="60", hold="50"), 100),
        (ScheduleConfig("linear", warmup="200"), 100),
        (ScheduleConfig("exponential", end=0), 100),
        (ScheduleConfig("exponential", start=-1, end=1), 100),
        (ScheduleConfig("exponential", half_life="0"), 100),
    ],
)
def test_impossible_schedules_are_refused(config: ScheduleConfig, total: int):
    with pytest.raises(ConfigError):
        config.build(total)
