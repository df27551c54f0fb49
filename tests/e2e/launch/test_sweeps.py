"""Sweeps from the command line, from the file to the comparison."""

import csv
import io
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from interp_cli.launch.folder import LaunchFolder
from interp_cli.launch.leases import newest_lease

pytestmark = pytest.mark.slow

GRID = """\
global:
  nested:
    shift: {values: [0.0, 1.0]}
one:
  x: {values: [0.7, 0.2]}
two:
  x: {values: [0.0]}
"""


def _launch(answer: Any) -> dict[str, Any]:
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def test_one_command_sweeps_all_experiments_and_a_report_compares_them(interp: Any, own_home: Path) -> None:
    (interp.folder / "grid.yaml").write_text(GRID)
    said = _launch(
        interp(
            "sweep", "grid.yaml", "--n-agents", "2", "--wait", "--json", "--", "parabola", "{experiment}", "--no-report"
        )
    )
    assert said["counts"] == {"done": 6}
    points = {
        (p["experiment"], p["params"]["x"], p["params"]["nested.shift"]): p["scalars"]["y"] for p in said["points"]
    }
    order = [
        ("one", 0.7, 0.0),
        ("one", 0.2, 0.0),
        ("one", 0.7, 1.0),
        ("one", 0.2, 1.0),
        ("two", 0.0, 0.0),
        ("two", 0.0, 1.0),
    ]
    expected = {(e, x, s): -((x - 0.7) ** 2) + s for e, x, s in order}
    assert points == pytest.approx(expected)
    page = Path(said["report"]).read_text()
    assert "Parallel coordinates of one" in page
    assert "Importance of parameters of one" in page
    assert "Means over the points of each experiment" in page
    answer = interp("sweep", "results", said["id"], "--format", "csv", "--metric", "y")
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    assert [float(row["y"]) for row in rows] == pytest.approx(list(expected.values()))
    assert all((Path(row["run"]) / "result.json").is_file() for row in rows)
    assert "| point | experiment |" in interp("sweep", "results", "--format", "md").stdout
    assert interp("launch", "status", said["id"][-6:]).returncode == 0


def test_the_same_file_works_as_an_option_of_the_stage(interp: Any) -> None:
    (interp.folder / "grid.yaml").write_text(GRID)
    said = _launch(
        interp("parabola", "one,two", "--sweep", "grid.yaml", "--n-agents", "2", "--no-report", "--json", "--seed", "3")
    )
    assert said["counts"] == {"done": 6}
    assert {p["scalars"]["n"] for p in said["points"]} == {1.0}
    assert said["report"] == ""
    record = json.loads((Path(said["points"][0]["run"]) / "record.json").read_text())
    assert "--seed=3" in json.dumps(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("global:\n  y: {values: [1]}\n", "unknown setting 'y' (grid.yaml, line 2)"),
        ("global:\n  nested:\n    shitf: {values: [1]}\n", "did you mean nested.shift?"),
        ("global:\n  x: {values: [1.0, far]}\n", "grid.yaml, line 2: x: 'far' is no number"),
        ("global:\n  x: {values: [1.0, 1.0]}\n", "a value occurs twice"),
    ],
)
def test_what_is_wrong_is_found_before_anything_starts(interp: Any, own_home: Path, text: str, message: str) -> None:
    (interp.folder / "grid.yaml").write_text(text)
    answer = interp("sweep", "grid.yaml", "--", "parabola")
    assert answer.returncode == 2
    assert message in answer.stderr
    assert not list((own_home / "interp").rglob("launch.json"))


def test_waiting_for_a_tpe_sweep_waits_for_its_owner(interp: Any) -> None:
    text = "sweep: {method: tpe, n_points: 3, metric: y, seed: 1}\nglobal:\n  x: {min: 0.0, max: 1.0}\n"
    (interp.folder / "tpe.yaml").write_text(text)
    said = _launch(interp("sweep", "tpe.yaml", "--wait", "--no-report", "--json", "--", "parabola", "--no-report"))
    assert said["counts"] == {"done": 3}
    assert len({point["params"]["x"] for point in said["points"]}) == 3


def test_a_tpe_sweep_goes_on_after_its_owner_was_killed(interp: Any, own_home: Path) -> None:
    text = "sweep: {method: tpe, n_points: 6, metric: y, seed: 1}\nglobal:\n  x: {min: 0.0, max: 1.0}\n"
    (interp.folder / "tpe.yaml").write_text(text)
    said = _launch(interp("sweep", "tpe.yaml", "--n-agents", "2", "--json", "--", "parabola", "--no-report"))
    folder = Path(said["folder"])
    deadline = time.monotonic() + 60
    while not list((folder / "state").glob("[0-9]*.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(json.loads((folder / "owner.json").read_text())["pid"], signal.SIGKILL)
    answer = interp("sweep", "resume", "last", "--wait")
    assert answer.returncode == 0, answer.stderr
    rows = list(csv.DictReader(io.StringIO(interp("sweep", "results", "--format", "csv").stdout)))
    assert len(rows) == 6
    assert {row["state"] for row in rows} == {"done"}
    assert all(float(row["y"]) == pytest.approx(-((float(row["x"]) - 0.7) ** 2)) for row in rows)


def test_a_task_that_is_interrupted_goes_on_in_the_run_that_it_had_begun(interp: Any, tmp_path: Path) -> None:
    log = tmp_path / "count.log"
    words = ("launch", "local", "--json", "--pass-env", "COUNT_LOG", "--", "count", "--no-report", "--to", "15")
    folder = LaunchFolder(Path(_launch(interp(*words, COUNT_LOG=str(log)))["folder"]))
    deadline = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().split()) >= 3) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(newest_lease(folder.leases, 0).owner.pid, signal.SIGTERM)
    while folder.ended(0) is None and time.monotonic() < deadline + 60:
        time.sleep(0.1)
    ended = folder.ended(0)
    assert (ended.state, ended.generation) == ("done", 2)
    assert log.read_text().split() == [str(k) for k in range(1, 16)]
    runs = list(Path(ended.run).parent.iterdir())
    assert len(runs) == 1
    assert json.loads((runs[0] / "result.json").read_text())["scalars"]["reached"] == 15
