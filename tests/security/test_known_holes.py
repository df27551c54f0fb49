"""None of the exact versions that are recommended has a known hole (nightly: it asks a public service)."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
AUDIT = ("pip-audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("uvx") is None, reason="pip-audit is run by uvx")
def test_no_recommended_version_has_a_known_hole():
    done = subprocess.run(["uvx", "-q", *AUDIT, "-r", str(CONSTRAINTS)], capture_output=True, text=True, timeout=500)
    if not done.stdout.startswith("{"):
        pytest.skip(f"pip-audit could not ask its service: {done.stderr.strip()[-200:]}")
    packages = json.loads(done.stdout)["dependencies"]
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        pytest.skip(f"the service of pip-audit knows none of {len(packages)} packages: it is not to be had here")
    assert {package["name"]: package["vulns"] for package in asked if package["vulns"]} == {}
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown:
        pytest.skip(f"no holes in {len(asked)} packages, but the service does not know {', '.join(unknown)}")
