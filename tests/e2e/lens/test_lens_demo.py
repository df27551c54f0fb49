"""``interp lens demo`` on the embedded model d = 128: the words carry content, and the evaluation says whether anybody can read them.

Slow tier, 120 steps on 5,000 texts. The bounds leave room around what was measured with these settings (see docs/lens.md).
"""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The object that ``--json`` ends with."""
    command = [
        sys.executable,
        "-m",
        "interp_cli",
        "lens",
        "demo",
        "--steps",
        "120",
        "--tuned-steps",
        "60",
        "--limit",
        "5000",
    ]
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run([*command, "--json", "--out", str(home)], capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_tuned_lens_is_below_the_logit_lens_at_every_layer_before_the_last(told):
    assert set(told["tuned_kl"]) == {"0", "1", "2", "3", "4"}
    for layer in ("0", "1", "2", "3"):
        assert told["tuned_kl"][layer] < 0.6 * told["logit_kl"][layer]
    assert told["tuned_kl"]["4"] == told["logit_kl"]["4"] == 0.0


def test_the_words_carry_content_that_another_rows_words_do_not(told):
    assert told["kl_identity"] == 0.0
    assert told["kl_mean"] > 3
    assert told["kl_recon_over_mean"] <= 0.65
    assert told["kl_recon_over_other"] <= 0.4
    assert told["fve"] >= 0.15
    assert told["top1_agreement"] >= 0.25
    assert told["kl_other_explanation_over_mean"] >= 0.7


def test_fluency_and_facts_are_told_beside_them_and_the_code_is_called_private(told):
    assert told["base_nll"] == pytest.approx(1.97, abs=0.1)
    assert told["explanation_nll"] > told["base_nll"] + 1
    assert told["facts_recall"] < told["facts_bound_recall"]
    assert any("private code" in verdict for verdict in told["verdicts"])
