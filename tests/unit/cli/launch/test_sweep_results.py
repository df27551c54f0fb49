"""Results of sweeps: tables, importances, figures."""

import csv
import io
import json
import math
import random
from pathlib import Path

import pytest

from interp_cli.launch.folder import Ended, LaunchFolder, Task
from interp_cli.launch.sweep_results import (
    Row,
    figures_of,
    importance,
    metric_names,
    results_csv,
    results_table,
    rows_of,
)
from interp_registry.errors import UnknownNameError
from interp_registry.figures import HeatMap, Lines, Table


def _rows(n_seeds: int = 4) -> list[Row]:
    rows = []
    for i, (a, b) in enumerate((a, b) for a in (0.001, 0.1, 10.0) for b in ("x", "y")):
        for seed in range(n_seeds):
            score = math.log10(a) + 0.01 * seed
            task = Task(len(rows), (), f"p{i}", {"opt.a": a, "b": b, "seed": seed}, "e1" if seed % 2 else "e2")
            rows.append(Row(task, "done", {"constant": 1.0, "score": score}, f"/runs/{i}"))
    return rows


def test_importance_is_the_share_of_variance_that_groups_explain() -> None:
    rows = _rows()
    assert importance(rows, "opt.a", "score") > 0.99
    assert importance(rows, "b", "score") < 1e-9
    assert importance(rows, "seed", "score") < 0.01
    assert math.isnan(importance(rows, "b", "constant"))
    assert math.isnan(importance(rows, "missing", "score"))


def test_importance_of_noise_is_about_groups_over_points() -> None:
    chance = random.Random(0)
    rows = [Row(Task(i, (), "", {"x": chance.random()}), "done", {"m": chance.random()}) for i in range(600)]
    assert 0.0 <= importance(rows, "x", "m") < 0.03


def test_importance_bins_what_has_many_values() -> None:
    rows = [Row(Task(i, (), "", {"x": i / 100}), "done", {"m": (i / 100) ** 2}) for i in range(100)]
    assert 0.9 < importance(rows, "x", "m") <= 1.0


def test_the_table_has_short_names_and_the_csv_full_ones() -> None:
    rows = _rows(1)
    table = results_table(rows, ["score"])
    assert table.columns == ("point", "experiment", "a", "b", "seed", "state", "score")
    text = results_csv(rows, ["score"])
    read = list(csv.DictReader(io.StringIO(text)))
    assert read[0]["opt.a"] == "0.001"
    assert float(read[0]["score"]) == rows[0].scalars["score"]
    assert read[0]["run"] == "/runs/0"


def test_text_that_looks_like_a_formula_is_marked_in_the_csv() -> None:
    rows = [Row(Task(0, (), "", {"x": "=1+1"}), "done", {"m": 1.0})]
    assert "'=1+1" in results_csv(rows, ["m"])


def test_metrics_that_differ_come_first_and_unknown_ones_are_refused() -> None:
    assert metric_names(_rows()) == ["score", "constant"]
    assert metric_names(_rows(), ["constant"]) == ["constant"]
    with pytest.raises(UnknownNameError, match="scroe"):
        metric_names(_rows(), ["scroe"])


def test_figures_are_parallel_coordinates_importances_and_means_per_experiment() -> None:
    figures = figures_of(_rows(), ["score", "constant"])
    assert [type(figure) for figure in figures] == [Lines, HeatMap, Lines, HeatMap, Table]
    lines = figures[0]
    assert len(lines.series) == 12
    assert all(0.0 <= y <= 1.0 for series in lines.series for y in series.y)
    assert lines.series[0].x == (0.0, 1.0, 2.0, 3.0)
    means = figures[-1]
    assert means.columns == ("experiment", "points", "score", "constant")
    assert {row[1] for row in means.rows} == {12}


def test_no_figures_are_made_of_nothing() -> None:
    assert figures_of([], []) == []
    assert figures_of([Row(Task(0, ()), "failed", {})], []) == []


def test_rows_are_read_from_the_runs_of_the_tasks(tmp_path: Path) -> None:
    tasks = [Task(i, ("x",), f"p{i}", {"a": i}) for i in range(3)]
    folder = LaunchFolder.create(tmp_path, "L", {}, tasks)
    run = tmp_path / "run"
    run.mkdir()
    (run / "result.json").write_text(json.dumps({"scalars": {"m": 2, "name": "text", "flag": True}}))
    folder.end(Ended(0, "done", 0, run=str(run)))
    folder.end(Ended(1, "failed", 1, run=str(tmp_path / "nowhere")))
    rows = rows_of(folder)
    assert [row.state for row in rows] == ["done", "failed", "open"]
    assert rows[0].scalars == {"m": 2.0}
    assert rows[1].scalars == {}
