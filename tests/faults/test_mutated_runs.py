"""Odd values of the right type, really carried out on tiny data, in forks that are cut off in time."""

import json
import os

import pytest
from hypothesis import strategies as st
from mutations import Said, check_message, try_all
from tiers import times

from interp_registry.config_io import fields_of
from interp_registry.config_io.values import type_name
from interp_registry.discovery import discover

SECONDS = 60
"""A hang lasts for ever; a busy machine takes many times the second in which these end."""

RUNS = [
    ["extract", "lm-d32", "--dataset", "captions.jsonl"],
    ["align", "lm-d32", "lm-d64", "--dataset", "captions.jsonl", "--metric", "cka"],
    ["bench", "clip-bow", "--datasets", "shapes-twins", "--limit", "4"],
    ["lens", "dump", "lm-d32", "--dataset", "captions.jsonl"],
]
"""Commands that end within a second."""

NUMBERS = ["-1", "0", "1", "3", "1000000000000", "-1000000000000"]
REALS = [*NUMBERS, "nan", "1e400", "-1e400", "0.5", "1e-300"]
TEXTS = ["absent", "folder", "pipe", "empty", "captions.jsonl", "lm-d32", "all", "", "99", "-5", "0,0", "{}"]


def values_of(schema):
    """Words that are of the type of a setting, and make no sense or little."""
    kind = type_name(schema.annotation)
    return NUMBERS if kind.startswith("int") else REALS if kind.startswith("float") else TEXTS


@st.composite
def runs(draw):
    words = draw(st.sampled_from(RUNS))
    method = discover().methods[words[0]]
    stage = next((one for one in method.stages if one.name in words[:2]), method.stages[0])
    plain = [one for one in fields_of(stage.config_type).values() if type_name(one.annotation) not in {"bool", "name"}]
    chosen = draw(st.lists(st.sampled_from(plain), min_size=1, max_size=2, unique_by=lambda schema: schema.name))
    changes = [
        f"{schema.option}={draw(st.sampled_from(values_of(schema)))}" for schema in chosen if not schema.positional
    ]
    return [*words, *changes, "--device", "cpu", "--quiet", "--no-report"]


@pytest.fixture
def data(tmp_path):
    rows = [{"text": f"a small red circle {i}"} for i in range(6)]
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.slow
def test_a_value_that_cannot_work_ends_in_one_message_soon(data, cli):
    def one(words):
        answer = cli.start(*words).wait(SECONDS)
        said = Said(answer.code, answer.out, answer.err)
        assert answer.code in (0, 1, 2, 3), said
        check_message(said)

    try_all(times(12), runs(), one)
