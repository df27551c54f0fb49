"""The installed command, from features of the zoo to the report."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def interp(*words, home):
    import os

    environment = {**os.environ, "INTERP_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "interp_cli", *words], capture_output=True, text=True, env=environment, timeout=500
    )
    return done.returncode, done.stdout, done.stderr


def test_models_are_extracted_aligned_and_aligned_again_without_extraction(tmp_path):
    words = (
        "align",
        "lm-d64",
        "vit-d64",
        "--limit",
        "128",
        "--skip-embedding",
        "--null",
        "50",
        "--json",
        "--no-report",
    )
    code, out, err = interp(*words, home=tmp_path)
    assert code == 0, err
    result = json.loads(out.splitlines()[-1])
    (pair,) = result["pairs"]
    assert (pair["x"], pair["y"]) == ("lm-d64", "vit-d64")
    assert pair["score"] > pair["threshold"] > pair["null mean"]
    assert pair["layer x"] != "0"
    code, out, err = interp(*words, "--no-extract", home=tmp_path)
    assert code == 0, err
    (again,) = json.loads(out.splitlines()[-1])["pairs"]
    assert again["scores"] == pair["scores"]
    assert again["p"] == pair["p"]


def test_wrong_use_is_one_message_and_exit_code_2(tmp_path):
    for words, message in (
        (("lm-d64", "vit-d65"), "or vit-d64"),
        (("lm-d64", "nothing.npy"), "there is no file"),
        (("lm-d64",), "nothing to compare"),
        (("lm-d64", "vit-d64", "--metric", "mutual_kn"), "did you mean mutual_knn"),
        (("lm-d64", "vit-d64", "--limit", "8"), "topk=10 needs more than 10 samples"),
    ):
        code, _, err = interp("align", *words, home=tmp_path)
        assert code == 2, (words, err)
        assert message in " ".join(err.split())
        assert "Traceback" not in err
