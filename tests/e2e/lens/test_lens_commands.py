"""``interp lens`` from the command line, on the embedded language model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def interp(*arguments, out):
    command = [sys.executable, "-m", "interp_cli", *arguments, "--out", str(out), "--json", "--device", "cpu"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_tuned_lens_is_nearer_to_the_last_layer_than_the_logit_lens_at_every_layer(tmp_path):
    trained = interp(
        "lens", "train", "tuned", "lm-d128", "--limit", "1500", "--steps", "60", "--no-report", out=tmp_path
    )
    found = trained["validation"]
    for layer in range(4):
        assert found[f"kl/{layer}"] < 0.5 * found[f"logit_kl/{layer}"]
    folder = Path(trained["folder"])
    shown = interp(
        "lens", "show", str(folder), "lm-d128", "--text", "the red circle is left of the blue square", out=tmp_path
    )
    assert shown["layers"] == [0, 1, 2, 3, 4]
    page = next(Path(shown["folder"]).rglob("index.html")).read_text()
    assert "max probability" in page
    assert shown["predictions"][4][1][0]["token"] in page
    interp("lens", "export", "tuned", str(folder), "--to", str(tmp_path / "theirs"), "--no-report", out=tmp_path)
    again = interp("lens", "import", "tuned", str(tmp_path / "theirs"), "--no-report", out=tmp_path)
    back = interp(
        "lens", "show", again["folder"], "lm-d128", "--text", "the red circle is left of the blue square", out=tmp_path
    )
    assert back["predictions"] == shown["predictions"]
