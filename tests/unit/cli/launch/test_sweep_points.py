"""Points of sweeps: order, names, command lines, samples."""

from pathlib import Path

import pytest

from interp_cli.launch.sweep_file import Sweep, SweepSettings, Values, read_sweep
from interp_cli.launch.sweep_points import (
    Point,
    Sampler,
    command_of,
    grid,
    option_words,
    points_of,
    short_names,
    tasks_of,
)
from interp_registry.errors import UsageError


def _sweep(tmp_path: Path, text: str) -> Sweep:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return read_sweep(path)


def test_a_grid_is_the_product_with_the_first_key_slowest() -> None:
    space = {"a": Values((1, 2)), "b.c": Values(("x", "y", "z"))}
    assert list(grid(space)) == [{"a": a, "b.c": c} for a in (1, 2) for c in "xyz"]


def test_points_come_experiment_by_experiment_with_names(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path, "global:\n  seed: {values: [0, 1]}\nb: {}\na:\n  optim.lr: {values: [0.001]}\n")
    points = points_of(sweep)
    assert [(p.experiment, p.name) for p in points] == [
        ("b", "seed-0"),
        ("b", "seed-1"),
        ("a", "seed-0_lr-0.001"),
        ("a", "seed-1_lr-0.001"),
    ]
    assert [p.experiment for p in points_of(sweep, ["a", "a"])] == ["a", "a"]
    assert [p.experiment for p in points_of(sweep, ["other"])] == ["other", "other"]


def test_a_file_with_a_global_block_alone_has_points_without_experiment(tmp_path: Path) -> None:
    assert [p.experiment for p in points_of(_sweep(tmp_path, "global:\n  s: {values: [1, 2]}\n"))] == ["", ""]


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names(["a.lr", "b.lr", "seed", "x.y.z"]) == {
        "a.lr": "a.lr",
        "b.lr": "b.lr",
        "seed": "seed",
        "x.y.z": "z",
    }
    assert short_names(["lr", "a.lr"]) == {"lr": "lr", "a.lr": "a.lr"}


def test_values_become_options_that_read_back_as_they_were() -> None:
    words = option_words({"a.b": 1e-05, "flag": True, "none": None, "names": ["x", "y"], "text": "a b"})
    assert words == ["--a.b=1e-05", "--flag=true", "--none=none", '--names=["x", "y"]', "--text=a b"]


def test_the_experiment_stands_where_the_command_wants_it() -> None:
    point = Point("tms", {"seed": 1}, "seed-1")
    assert command_of(["spd", "run", "{experiment}"], point) == ("spd", "run", "tms", "--seed=1")
    with pytest.raises(UsageError, match=r"does not use \{experiment\}"):
        command_of(["spd", "run"], point)
    assert tasks_of([point], ["spd", "{experiment}"])[0].name == "tms seed-1"


def test_random_points_are_the_same_for_the_same_seed_and_lie_in_their_ranges(tmp_path: Path) -> None:
    text = (
        "sweep: {method: random, n_points: 20, seed: %d}\nglobal:\n  lr: {min: 0.0001, max: 0.1, log: true}\n"
        "  k: {min: 2, max: 8, step: 2}\n  m: {values: [a, [1, 2]]}\n"
    )
    first, again = points_of(_sweep(tmp_path, text % 1)), points_of(_sweep(tmp_path, text % 1))
    other = points_of(_sweep(tmp_path, text % 2))
    assert first == again
    assert first != other
    assert all(
        0.0001 <= p.params["lr"] <= 0.1 and p.params["k"] in (2, 4, 6, 8) and p.params["m"] in ("a", [1, 2])
        for p in first
    )
    assert len({p.params["lr"] for p in first}) == 20


def test_points_that_depend_on_results_cannot_be_listed(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path, "sweep: {method: tpe, n_points: 2, metric: m}\nglobal:\n  x: {min: 0.0, max: 1.0}\n")
    with pytest.raises(UsageError, match="depend on results"):
        points_of(sweep)


def test_too_many_points_are_refused() -> None:
    with pytest.raises(UsageError, match="1000000 points"):
        list(grid({name: Values(tuple(range(100))) for name in "abc"}))


def test_tpe_moves_to_where_results_are_good_and_remembers_an_earlier_owner(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, SweepSettings("tpe", 40, 0, "m"), {}, {})
    sweep_file = _sweep(
        tmp_path,
        "sweep: {method: tpe, n_points: 40, metric: m}\nglobal:\n  x: {min: 0.0, max: 1.0}\n  c: {values: [u, v]}\n",
    )
    sampler = Sampler(sweep, sweep_file.common)
    history = []
    for _ in range(40):
        trial, params = sampler.ask()
        value = -((params["x"] - 0.7) ** 2) - (params["c"] == "u")
        history.append((params, value))
        sampler.tell(trial, value)
    assert (
        abs(sum(p["x"] for p, _ in history[-10:]) / 10 - 0.7)
        < abs(sum(p["x"] for p, _ in history[:10]) / 10 - 0.7) + 0.05
    )
    assert sum(p["c"] == "v" for p, _ in history[-10:]) >= 7
    later = Sampler(sweep, sweep_file.common, salt=40)
    for params, value in history:
        later.remember(params, value)
    later.remember(history[0][0], None)
    assert sum(later.ask()[1]["c"] == "v" for _ in range(10)) >= 7


def test_a_failed_trial_is_told_as_failed(tmp_path: Path) -> None:
    sweep_file = _sweep(tmp_path, "sweep: {method: tpe, n_points: 4, metric: m}\nglobal:\n  x: {min: 0.0, max: 1.0}\n")
    sampler = Sampler(sweep_file, sweep_file.common)
    trial, _ = sampler.ask()
    sampler.tell(trial, None)
    trial, _ = sampler.ask()
    sampler.tell(trial, float("nan"))
    assert 0.0 <= sampler.ask()[1]["x"] <= 1.0
