"""Sigmoids, schedules, permutations, data and distances against the published implementation."""

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import matching, sigmoids
from interp_plugins.methods.spd.annealing import annealed
from interp_plugins.methods.spd.components import init_from_target, inner_activations
from interp_plugins.methods.spd.distances import kl_per_position, sum_kl
from interp_plugins.methods.spd.masks import uniform_k_routing
from interp_plugins.methods.spd.randomness import Draws
from interp_plugins.methods.spd.sparse_data import SparseFeatures
from interp_registry.training.schedules import ScheduleConfig

SINGLE = ["normal", "hard", "leaky_hard", "upper_leaky_hard", "swish_hard"]


def _check_sigmoid(golden, name, function):
    x = golden["sigmoid/x"].clone().requires_grad_()
    y = function(x)
    (grad,) = torch.autograd.grad(y, x, golden["sigmoid/grad_out"])
    tolerance = 5e-6 if name == "swish_hard" else 1e-6
    assert_close(y, golden[f"sigmoid/{name}/y"], rtol=0, atol=tolerance)
    assert_close(grad, golden[f"sigmoid/{name}/grad_in"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", SINGLE)
def test_sigmoids_and_their_gradients_equal_the_later_code(main, name):
    _check_sigmoid(main, name, getattr(sigmoids, name))


def test_the_lower_sigmoid_of_the_later_code_leaks_upwards_only(main):
    _check_sigmoid(main, "lower_leaky_hard", lambda x: sigmoids.lower_leaky_hard(x, only_upwards=True))


def test_the_lower_sigmoid_of_the_paper_leaks_both_ways(september):
    _check_sigmoid(september, "lower_leaky_hard", sigmoids.lower_leaky_hard)


@pytest.mark.parametrize("name", SINGLE)
def test_sigmoids_equal_the_code_of_the_paper(september, name):
    _check_sigmoid(september, name, getattr(sigmoids, name))


def test_schedules_of_the_later_code(values):
    for case in values["schedule"]:
        schedule = ScheduleConfig(
            case["fn_type"], end=case["final_val_frac"], warmup=f"{case['warmup_pct'] * 100}%", reach="last",
            warmup_from_zero=True,
        ).build(case["total"])  # fmt: skip
        for step, expected in zip(case["steps"], case["values"], strict=True):
            if step < case["total"]:  # step 100 of 100 is outside the schedule
                assert schedule(step) * case["start_val"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("linear", ScheduleConfig("linear", warmup="10%", warmup_from_zero=True)),
        ("constant", ScheduleConfig("constant", warmup="10%", warmup_from_zero=True)),
        ("cosine", ScheduleConfig("cosine_quarter", warmup="10%", reach="last", warmup_from_zero=True)),
        ("exponential", ScheduleConfig("exponential", warmup="10%", half_life="30", warmup_from_zero=True)),
    ],
)
def test_schedules_of_the_papers_code(september_values, published, ours):
    schedule = ours.build(100)
    got = [1e-3 * schedule(step) for step in (0, 1, 5, 9, 10, 11, 50, 98, 99)]
    assert got == pytest.approx(september_values[f"lr/{published}"], abs=1e-12)


def test_annealed_exponents(values, september_values):
    for case in values["p_anneal"]:
        got = annealed(case["frac"], case["initial"], case["final"], case["start"], case["end"])
        assert got == pytest.approx(case["p"], abs=1e-12)
    got = [annealed(s / 100, 2.0, 0.5, 0.2, 0.8) for s in (0, 10, 20, 35, 50, 79, 80, 100)]
    assert got == pytest.approx(september_values["p_anneal"], abs=1e-12)


@pytest.mark.parametrize("i", [0, 1, 2])
def test_permutations_and_error_counts(main, values, i):
    ci = main[f"perm/{i}/ci"]
    assert_close(matching.hungarian_order(ci), main[f"perm/{i}/hungarian_idx"])
    assert_close(matching.greedy_order(ci), main[f"perm/{i}/greedy_idx"])
    assert_close(matching.dense_order(ci), main[f"perm/{i}/dense_idx"])
    for tolerance, count in values[f"perm/{i}/identity_error"].items():
        assert matching.identity_error(ci, float(tolerance)) == count
    for tolerance, count in values[f"perm/{i}/dense_error_k3"].items():
        assert matching.dense_error(ci, 3, float(tolerance)) == count
    for threshold, l0 in values[f"perm/{i}/l0"].items():
        assert matching.importance_l0(ci, float(threshold)) == pytest.approx(l0)


def test_errors_against_an_expected_solution(main, values):
    matrices = {"a.0": main["perm/0/ci"], "b": main["perm/2/ci"]}
    expected = [matching.Expected("a.*", n_features=5), matching.Expected("b", k=3)]
    want = values["target_metrics"]
    errors = matching.target_errors(matrices, expected, 0.1)
    assert errors == {"a.0": want["a.0"], "b": want["b"]}
    assert sum(matching.target_errors(matrices, expected, 0.2).values()) == want["total_0p2"]


def test_sparse_features_reproduce_the_published_batch(main):
    data = SparseFeatures(5, 0.3, -1.0, 1.0)
    got = data.batch(6, torch.Generator().manual_seed(1234 + 11))
    assert_close(got, main["data/at_least_zero_p0.3_pm1"])


def test_uniform_k_routing_reproduces_the_published_draw(main):
    generator = torch.Generator().manual_seed(1234 + 9)
    wide = uniform_k_routing((4, 3), 3, Draws(generator))
    for i, name in enumerate("abc"):
        assert_close(wide[..., i], main[f"routing/uniform_k/{name}"])


def test_divergence_of_logits(main, values):
    assert_close(kl_per_position(main["kl/pred"], main["kl/target"]), main["kl/per_token"], rtol=1e-5, atol=1e-6)
    total, per_row = sum_kl(main["kl/pred"], main["kl/target"])
    assert float(total / (10 * per_row)) == pytest.approx(values["kl/mean"], rel=1e-5)


def test_embedding_components(main):
    v, u, ids = main["emb/V"], main["emb/U"], main["emb/ids"]
    inner = inner_activations(ids, v)
    out = (inner * main["emb/mask"]) @ u + main["emb/delta_mask"].unsqueeze(-1) * main["emb/delta"][ids]
    assert_close(out, main["emb/out"], rtol=1e-5, atol=1e-6)
    assert_close(v @ u, main["emb/weight"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("module", ["linear1", "linear2", "hidden_layers.0"])
def test_initial_components_scale_as_the_published_ones(september, module):
    weight = september[f"state/patched_model.{module}.original.weight"].T
    for v, u in [
        (september[f"init/{module}/V"], september[f"init/{module}/U"]),
        init_from_target(weight, 4, torch.Generator().manual_seed(0)),
    ]:
        assert_close(v.norm(dim=0), torch.ones(4))
        overlap = ((v.T @ weight) * (u / u.norm(dim=1, keepdim=True))).sum(1)
        assert_close(overlap.abs(), u.norm(dim=1), rtol=1e-5, atol=1e-6)
