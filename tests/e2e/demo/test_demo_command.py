"""`interp demo` from an empty home, as a newcomer runs it. Slow tier."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "interp_cli", "demo", "--json", "--out", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_agreement_grows_with_the_language_model_and_stands_above_its_controls(demo):
    matrix = demo["matrix"]["1 caption"]
    column = {name: row["vit-d64"] for name, row in matrix.items()}
    assert column["lm-d128"] >= 0.075
    assert column["lm-d128"] > column["lm-d32"] + 0.012
    for name in ("lm-d32", "lm-d64", "lm-d96", "lm-d128"):
        assert column[name] > 1.4 * column[f"{name}-init"]
        assert column[name] > 1.7 * matrix[name]["vit-d64-init"]
    assert demo["matrix"]["3 captions"]["lm-d128"]["vit-d64"] >= 0.15


def test_null_ceiling_and_correlation_are_stated_whatever_they_are(demo):
    assert 0.008 <= demo["null"]["1 caption"] <= 0.0125
    assert demo["ceiling"]["1 caption"] < demo["ceiling"]["3 captions"]
    assert "Spearman rho = " in demo["correlations"]["3 captions"]
    assert any("mechanism, designed in" in sentence for sentence in demo["lead"])


def test_the_report_and_its_figures_are_there(demo):
    page = Path(demo["folder"]) / "report" / "index.html"
    text = page.read_text()
    assert "Do models of text and models of pictures agree?" in text
    assert "mechanism, designed in" in text
    assert [figure["kind"] for figure in demo["figures"]].count("heat_map") == 2 + 2 * 4
