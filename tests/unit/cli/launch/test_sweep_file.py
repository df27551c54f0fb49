"""Sweep files: what they may say, and what they are told when they say something else."""

from pathlib import Path

import pytest

from interp_cli.launch.sweep_file import Range, Values, read_sweep
from interp_registry.errors import UsageError

GOOD = """\
global:
  seed: {values: [0, 1]}
  optimizer:
    lr: {values: [0.001, 0.01]}
tms_5-2:
  optimizer:
    lr:
      values: [0.1]
  losses:
    - classname: Importance
      coeff: {values: [1.0, 2.0]}
    - classname: Faith
      p: {values: [null]}
resid_mlp1: {}
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(text)
        return path

    return write


def test_an_experiment_is_merged_over_the_global_block_and_replaces_its_leaves(write) -> None:
    sweep = read_sweep(write(GOOD))
    assert sweep.space("tms_5-2") == {
        "seed": Values((0, 1)),
        "optimizer.lr": Values((0.1,)),
        "losses.Importance.coeff": Values((1.0, 2.0)),
        "losses.Faith.p": Values((None,)),
    }
    assert sweep.space("resid_mlp1") == {"seed": Values((0, 1)), "optimizer.lr": Values((0.001, 0.01))}
    assert list(sweep.experiments) == ["tms_5-2", "resid_mlp1"]


def test_every_key_knows_its_line(write) -> None:
    sweep = read_sweep(write(GOOD))
    assert sweep.where("tms_5-2", "optimizer.lr").endswith("sweep.yaml, line 7")
    assert sweep.where("tms_5-2", "seed").endswith("line 2")
    assert sweep.where("tms_5-2", "losses.Faith.p").endswith("line 13")


def test_an_experiment_without_any_parameters_is_an_error(write) -> None:
    sweep = read_sweep(write("a:\n  x: {values: [1]}\n"))
    with pytest.raises(UsageError, match="no parameters for the experiment 'b'"):
        sweep.space("b")


def test_a_step_that_is_no_whole_number_makes_a_range_of_fractions(write) -> None:
    sweep = read_sweep(write("sweep: {method: random, n_points: 3}\nglobal:\n  x: {min: 1, max: 9, step: 0.5}\n"))
    assert sweep.common == {"x": Range(1.0, 9.0, step=0.5, whole=False)}


def test_ranges_are_read_with_their_kind(write) -> None:
    text = "sweep: {method: random, n_points: 3}\nglobal:\n  a: {min: 0.1, max: 1.0, log: true}\n  b: {min: 1, max: 9, step: 2}\n"
    sweep = read_sweep(write(text))
    assert sweep.common == {"a": Range(0.1, 1.0, log=True), "b": Range(1.0, 9.0, step=2.0, whole=True)}
    assert sweep.settings.n_points == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("global:\n  x:\n    y: 3\n", r"line 3: global\.x\.y: 3 is neither values nor a range"),
        ("global:\n  x: {values: []}\n", r"line 2: global\.x: values is \[\]"),
        ("global:\n  x: {values: 3}\n", r"values is 3"),
        ("global:\n  x: {values: [1], log: true}\n", r"'log' stands beside `values`"),
        ("global:\n  x: {min: 1, max: 2, base: 3}\n", r"'base' is no part of a range"),
        ("global:\n  x: {min: 2, max: 1}\n", r"min 2, max 1"),
        ("global:\n  x: {min: 0, max: 1, log: true}\n", r"min 0, max 1"),
        ("global:\n  x: {min: 1e-3, max: 1}\n", r"'1e-3' is no number"),
        ("global:\n  x: {min: -.inf, max: 1, int: true}\n", r"-inf bounds nothing"),
        ("global:\n  x: {min: 0, max: null}\n", r"None is no number"),
        ("global:\n  x: {min: 0, max: .nan}\n", r"nan bounds nothing"),
        ("global:\n  x: {min: 1, max: 1" + 350 * "0" + "}\n", r"bounds nothing"),
        ("global:\n  x: {min: 0.5, max: 3, int: true, log: true}\n", r"min 0.5, max 3, step None of whole numbers"),
        ("global:\n  x: {min: 1, max: 9, step: 0.5, int: true}\n", r"step 0.5 of whole numbers"),
        ("global:\n  x: {min: 0.1, max: 1.0}\n", r"x is a range, a grid needs values"),
        ("global:\n  x: [{coeff: {values: [1]}}]\n", r"an item of the list has no type"),
        ("global: 3\n", r"line 1: global: 3 is no mapping"),
        (
            "sweep: {method: gird}\nglobal:\n  x: {values: [1]}\n",
            r"unknown method of a sweep 'gird'.*did you mean grid",
        ),
        ("sweep: {npoints: 3}\n", r"unknown setting of a sweep 'npoints'.*n_points"),
        ("sweep: {method: random}\nglobal:\n  x: {values: [1]}\n", r"needs a number of points"),
        ("sweep: {method: tpe, n_points: 3}\nglobal:\n  x: {values: [1]}\n", r"needs a metric"),
        ("sweep: {n_points: many}\n", r"'many' is no whole number"),
        ("sweep: [1]\n", r"is no mapping"),
        ("global:\n  x: {values: [1]}\n  x: {values: [2]}\n", r"'x' occurs twice"),
        ("a: [\n", r"not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_with_key_and_line(write, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_sweep(write(text))
    import re

    assert re.search(message, str(caught.value)), str(caught.value)
