"""Strict JSON keeps what JSON has no words for."""

import enum
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_registry.errors import CorruptError, PluginError
from interp_registry.json_values import dumps, from_plain, loads, to_plain

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: not key.startswith("$")), inner),
    max_leaves=20,
)


@given(plain)
def test_values_survive_the_round_trip(value):
    assert loads(dumps(value)) == value


def test_nan_is_written_as_a_mark_that_every_json_parser_reads():
    assert dumps({"a": math.nan, "b": -math.inf}) == '{"a":{"$float":"NaN"},"b":{"$float":"-Infinity"}}'
    assert math.isnan(loads(dumps(math.nan)))


def test_arrays_paths_enums_dataclasses_and_sets_become_plain():
    class Colour(enum.Enum):
        RED = "red"

    @dataclass
    class Point:
        x: float

    value = {
        "array": np.eye(2),
        "path": Path("a/b"),
        "colour": Colour.RED,
        "point": Point(1.0),
        "set": {2, 1},
        3: np.int64(4),
    }
    expected = {
        "array": [[1.0, 0.0], [0.0, 1.0]],
        "path": "a/b",
        "colour": "red",
        "point": {"x": 1.0},
        "set": [1, 2],
        "3": 4,
    }
    assert to_plain(value) == expected


def test_objects_are_refused_by_name():
    with pytest.raises(PluginError, match="a object cannot be written as JSON"):
        to_plain({"a": object()})


@pytest.mark.parametrize("bad", [{"$float": "1"}, {"$float": []}, {"$bytes": "*"}])
def test_false_marks_are_corrupt(bad):
    with pytest.raises(CorruptError):
        from_plain(bad)


def test_text_that_is_not_json_is_corrupt():
    with pytest.raises(CorruptError, match="not JSON"):
        loads("{")
