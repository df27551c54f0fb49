"""The unit tests on the oldest packages that pyproject.toml allows (nightly: it installs them)."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NO_REGISTRY = (
    "error sending request",
    "Failed to fetch",
    "Could not connect",
    "dns error",
    "not found in the package registry",
)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.skipif(
    shutil.which("uv") is None or shutil.which("make") is None, reason="make and uv install the packages"
)
def test_the_unit_tests_pass_on_the_oldest_packages_that_are_allowed():
    done = subprocess.run(["make", "--no-print-directory", "floors"], cwd=ROOT, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode and any(sign in said for sign in _NO_REGISTRY):
        pytest.skip(f"no registry of packages is to be had: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, said[-4000:]
    assert " passed" in done.stdout
