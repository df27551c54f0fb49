"""A result as JSON follows the one conversion of values; only not-finite numbers differ."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from interp_registry.contracts.method import Result
from interp_registry.errors import PluginError
from interp_registry.json_values import from_plain, to_plain


@dataclass
class Part:
    size: int
    score: float


VALUES = {"path": Path("a/b"), "array": np.arange(3, dtype=np.float32), "tensor": torch.ones(2, 1), "set": {2, 1},
          "part": Part(3, 0.5), "number": np.float64(0.25), "flag": np.bool_(True), "tuple": (1, "x", None)}  # fmt: skip


def test_values_are_those_of_every_other_json_file():
    shown = Result(data=VALUES).to_json()
    assert {name: shown[name] for name in VALUES} == to_plain(VALUES)
    assert from_plain(shown["part"]) == {"size": 3, "score": 0.5}
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


def test_not_finite_numbers_are_none_wherever_they_stand():
    data = {"nested": [{"x": np.array([1.0, math.nan])}, Part(1, -math.inf)]}
    shown = Result(scalars={"score": math.inf}, data=data).to_json()
    assert shown["scalars"] == {"score": None}
    assert shown["nested"] == [{"x": [1.0, None]}, {"size": 1, "score": None}]


def test_what_json_cannot_hold_is_named():
    with pytest.raises(PluginError, match="object cannot be written as JSON"):
        Result(data={"odd": object()}).to_json()
