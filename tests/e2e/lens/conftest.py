"""One demonstration on the embedded model, which the tests of what it says share."""

import json
import os
import subprocess
import sys

import pytest


def _interp(*arguments, out):
    command = [sys.executable, "-m", "interp_cli", *arguments, "--out", str(out), "--json", "--device", "cpu"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def interp():
    """Runs a command and gives the object that ``--json`` ends with."""
    return _interp


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory):
    """A short one: 60 steps on 5,000 texts."""
    home = tmp_path_factory.mktemp("lens demo")
    short = ("--steps", "60", "--tuned-steps", "60", "--limit", "5000", "--rows", "200")
    return _interp("lens", "demo", *short, out=home)
