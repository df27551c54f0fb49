"""``interp lens demo`` on the embedded model d = 128: the words carry the content, and the evaluation says whether anybody can read them.

Issue "interp lens", "On the embedded d = 128 language model"; slow tier with 120 steps, nightly with the full 500.
"""

import json
import subprocess
import sys

import pytest


def demo(steps, tuned_steps, timeout):
    """The object that ``--json`` ends with."""
    command = [
        sys.executable,
        "-m",
        "interp_cli",
        "lens",
        "demo",
        "--steps",
        str(steps),
        "--tuned-steps",
        str(tuned_steps),
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def check_what_holds_at_any_length(told):
    """Keys that are promised, exact baselines, and the tuned lens below the logit lens at every layer."""
    for key in (
        "explanation_nll",
        "base_nll",
        "kl_shuffled_over_mean",
        "facts_recall",
        "facts_bound_recall",
        "verdicts",
    ):
        assert key in told
    assert told["kl_identity"] == 0.0
    assert told["kl_mean"] > 3  # measured 4.9 nats at layer 2
    assert set(told["tuned_kl"]) <= set(told["logit_kl"])
    for layer, kl in told["tuned_kl"].items():
        if layer != "4":  # at the last layer both are the model itself
            assert kl < told["logit_kl"][layer], layer
    assert told["facts_recall"] <= 1


@pytest.mark.slow
def test_after_120_steps_the_words_carry_most_of_the_activation():
    told = demo(120, 60, 580)
    check_what_holds_at_any_length(told)
    assert told["kl_recon_over_mean"] <= 0.20
    assert told["fve"] >= 0.60
    assert told["top1_agreement"] >= 0.65
    assert told["kl_other_explanation_over_mean"] >= 0.7


@pytest.mark.nightly
@pytest.mark.timeout(2400)
def test_after_500_steps_hardly_anything_is_lost():
    told = demo(500, 250, 2300)
    check_what_holds_at_any_length(told)
    assert told["kl_recon_over_mean"] <= 0.05
    assert told["kl_recon_over_other"] <= 0.05
    assert told["fve"] >= 0.85
    assert told["top1_agreement"] >= 0.85
    assert told["kl_other_explanation_over_mean"] >= 0.7
