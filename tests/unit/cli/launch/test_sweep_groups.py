"""Points of a sweep that share a process: which do, what their task says, and where their results are found."""

import json
from pathlib import Path

import pytest

from interp_cli.launch.folder import Ended, LaunchFolder
from interp_cli.launch.points_word import points_in, points_word
from interp_cli.launch.run_file import resume_words
from interp_cli.launch.sweep_file import read_sweep
from interp_cli.launch.sweep_groups import check_batched, grouped_tasks
from interp_cli.launch.sweep_points import points_of
from interp_cli.launch.sweep_results import rows_of
from interp_registry.discovery import discover
from interp_registry.errors import UsageError

FILE = """\
global:
  seed: {values: [0, 1]}
tms_5-2:
  learning_rate: {values: [1.0e-3, 2.0e-3]}
  losses: {importance_minimality: {coeff: {values: [1.0e-3]}, p: {values: [1.0, 2.0]}}}
resid_mlp1:
  steps: {values: [10, 20]}
"""
COMMAND = ["spd", "run", "{experiment}", "--no-report"]


@pytest.fixture
def sweep(tmp_path: Path):
    path = tmp_path / "sweep.yaml"
    path.write_text(FILE)
    return read_sweep(path)


def test_points_that_differ_in_seed_rate_coefficient_and_exponent_share_a_process(sweep) -> None:
    discover()
    points = points_of(sweep)
    tasks = grouped_tasks(points, COMMAND, 16)
    assert [[p["i"] for p in task.points] for task in tasks] == [list(range(8)), [8, 10], [9, 11]]
    assert [task.experiment for task in tasks] == ["tms_5-2", "resid_mlp1", "resid_mlp1"]
    words, named = points_in(tasks[0].argv)
    assert words == ["spd", "run", "tms_5-2", "--no-report"]
    assert named == [dict(point.params) for point in points[:8]]
    assert [task.i for task in tasks] == [0, 1, 2]


def test_a_group_has_at_most_so_many_points_and_one_alone_is_an_ordinary_task(sweep) -> None:
    tasks = grouped_tasks(points_of(sweep, ["tms_5-2"]), COMMAND, 7)
    assert [len(task.points) for task in tasks] == [7, 1]
    assert points_in(tasks[1].argv)[1] is None
    assert "--losses.importance_minimality.p=2.0" in tasks[1].argv
    assert tasks[1].params["seed"] == 1


@pytest.mark.parametrize("option", ["--num-processes=2", "--seeds=0,1", "--other.accumulate=2"])
def test_points_that_cannot_be_batched_run_alone(sweep, option: str) -> None:
    tasks = grouped_tasks(points_of(sweep, ["tms_5-2"])[:2], [*COMMAND, option], 16)
    assert [len(task.points) for task in tasks] == [1, 1]


def test_groups_are_refused_where_there_can_be_none(sweep, tmp_path: Path) -> None:
    stages = {stage.name: stage for stage in discover().methods["spd"].stages}
    check_batched(sweep, stages["run"], 16)
    with pytest.raises(UsageError, match="cannot run several points in one process"):
        check_batched(sweep, stages["pretrain"], 16)
    with pytest.raises(UsageError, match="--batched 65 is not between 1 and 64"):
        check_batched(sweep, stages["run"], 65)
    (tmp_path / "tpe.yaml").write_text(
        "sweep: {method: tpe, metric: loss, n_points: 3}\nglobal:\n  seed: {values: [0, 1]}\n"
    )
    with pytest.raises(UsageError, match="depend on results"):
        check_batched(read_sweep(tmp_path / "tpe.yaml"), stages["run"], 16)


def test_the_word_of_a_group_reads_back() -> None:
    points = [{"seed": 0, "a.b": "x y"}, {"seed": 1, "a.b": None}]
    assert points_in(["run", points_word(points), "--flag"]) == (["run", "--flag"], points)
    assert points_in(["run", "--flag"]) == (["run", "--flag"], None)


def test_every_point_of_a_group_has_a_line_among_the_results(sweep, tmp_path: Path) -> None:
    tasks = grouped_tasks(points_of(sweep, ["resid_mlp1"]), COMMAND, 16)
    folder = LaunchFolder.create(tmp_path, "launch", {}, tasks)
    runs = [tmp_path / f"run-{n}" for n in range(2)]
    for n, run in enumerate(runs):
        run.mkdir()
        (run / "result.json").write_text(json.dumps({"scalars": {"loss": n}}))
    folder.end(Ended(1, "done", 0, run="\n".join(map(str, runs))))
    rows = rows_of(folder)
    assert [(row.task.i, row.task.params["seed"], row.task.params["steps"]) for row in rows] == [
        (0, 0, 10),
        (1, 0, 20),
        (2, 1, 10),
        (3, 1, 20),
    ]
    assert [row.state for row in rows] == ["open", "done", "open", "done"]
    assert [dict(row.scalars) for row in rows] == [{}, {"loss": 0.0}, {}, {"loss": 1.0}]
    assert rows[3].run == str(runs[1])


def test_a_group_that_was_interrupted_begins_anew(tmp_path: Path) -> None:
    told = tmp_path / "0.run"
    told.write_text(f"{tmp_path / 'a'}\n{tmp_path / 'b'}\n")
    assert resume_words(told) == []
