"""`interp spd run` and `interp spd show` from the command line, offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TARGET = Path(__file__).parents[2] / "golden" / "spd" / "target_tms_5-2"


def interp(*arguments, out):
    command = [
        sys.executable,
        "-m",
        "interp_cli",
        *arguments,
        "--out",
        str(out),
        "--json",
        "--no-report",
        "--device",
        "cpu",
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_run_can_be_looked_into(tmp_path):
    run = interp("spd", "run", "tms_5-2", "--target.path", str(TARGET), "--stop-after", "30", out=tmp_path)
    assert {"mmcs_mean", "ml2r_mean", "identity_ci_error", "ci_l0", "faithfulness", "loss"} <= set(run["metrics"])
    shown = interp("spd", "show", run["run"], "--n-batches", "1", out=tmp_path)
    page = Path(shown["artifacts"][0]).read_text()
    assert "Components of tms_5-2" in page
    assert "linear1:" in page
