import math

import numpy as np
import pytest
import torch
from calibrated_similarity import calibrate as peer_calibrate
from calibrated_similarity import calibrate_layers as peer_calibrate_layers

from interp_plugins.methods.align.api import align
from interp_plugins.methods.align.calibration import (
    benjamini_hochberg,
    calibrate,
    null_scores,
    parse_statistic,
    permutations,
)
from interp_plugins.methods.align.metric_choice import metric
from interp_registry.contracts.metric import MetricInfo
from interp_registry.errors import UsageError

BOUNDED = MetricInfo(summary="", source="", range=(0.0, 1.0))
DISTANCE = MetricInfo(summary="", source="", range=(0.0, None), higher_is_better=False)


def peer_cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    k, m = x @ x.T, y @ y.T
    return (k * m).sum() / (k.norm() * m.norm())


def peer_mutual_knn(x, y, k=10):
    masks = []
    for z in (x, y):
        s = z @ z.T
        s.fill_diagonal_(-math.inf)
        masks.append(torch.zeros_like(s).scatter_(1, s.topk(k).indices, 1.0))
    return (masks[0] * masks[1]).sum() / (len(x) * k)


PEERS = {"cka": peer_cka, "mutual_knn": peer_mutual_knn}


def draws(n, n_permutations, seed):
    """The permutations that align uses, handed to the peer one by one."""
    queue = list(permutations(n, n_permutations, seed))
    return lambda n_, device_: queue.pop(0)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("statistic", ["max", "mean"])
@pytest.mark.parametrize("noise", [0.5, 30.0])
def test_calibrated_values_are_those_of_the_published_package(make_layers, name, statistic, noise):
    x, y = make_layers(3, noise=noise), make_layers(2, noise=noise, seed=7)
    ours = align(x, y, metric=name, normalize=False, null=40, alpha=0.1, seed=3, statistic=statistic)
    score, p, tau = peer_calibrate_layers(
        x, y, PEERS[name], agg=statistic, K=40, alpha=0.1, perm_fn=draws(len(x[0]), 40, 3)
    )
    assert ours.calibrated == pytest.approx(float(score), abs=1e-5)
    assert ours.p_value == pytest.approx(float(p), abs=1e-6)
    assert ours.threshold == pytest.approx(float(tau), abs=1e-5)


def test_a_chosen_pair_is_calibrated_as_a_scalar(make_layers):
    x, y = make_layers(3, noise=2.0), make_layers(2, noise=2.0, seed=7)
    ours = align(x, y, metric="cka", normalize=False, null=30, seed=5, statistic=(2, 1))
    score, p, tau = peer_calibrate(x[2], y[1], peer_cka, K=30, perm_fn=draws(len(x[0]), 30, 5))
    assert ours.statistic == "2,1"
    assert (ours.calibrated, ours.p_value, ours.threshold) == pytest.approx(
        (float(score), float(p), float(tau)), abs=1e-5
    )


def test_threshold_is_the_stated_order_statistic_and_p_counts_the_observed_value():
    null = np.arange(19) / 100
    found = calibrate(0.5, null, 0.05, BOUNDED)
    assert found.threshold == 0.18  # number ceil(0.95 * 20) = 19 of 20
    assert found.p_value == 1 / 20
    assert found.calibrated == pytest.approx((0.5 - 0.18) / (1 - 0.18))
    assert calibrate(0.18, null, 0.05, BOUNDED).calibrated == 0
    assert calibrate(0.0, null, 0.05, BOUNDED).p_value == 1


@pytest.mark.parametrize("n_permutations", [19, 99, 199, 999])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.2])
def test_a_score_is_positive_exactly_when_p_is_at_most_alpha(n_permutations, alpha):
    generator = np.random.default_rng(0)
    null = generator.normal(size=n_permutations)
    for observed in [*generator.normal(size=50), *null[:20], 3.0]:
        found = calibrate(float(observed), null, alpha, MetricInfo(summary="", source=""))
        assert (found.calibrated > 0) == (found.p_value <= alpha + 1e-12 and observed > found.threshold)


def test_distances_are_calibrated_with_their_sign_turned():
    found = calibrate(0.1, np.linspace(0.5, 0.9, 99), 0.05, DISTANCE)
    assert found.p_value == 0.01
    assert 0.5 <= found.threshold < 0.6
    assert found.calibrated == pytest.approx((found.threshold - 0.1) / found.threshold)


def test_where_there_is_no_greatest_score_the_excess_is_reported():
    unbounded = MetricInfo(summary="", source="")
    assert calibrate(5.0, np.zeros(99), 0.05, unbounded).calibrated == 5.0


def test_the_same_permutation_is_applied_to_all_layers(make_layers):
    x = make_layers(1, noise=5.0)
    y = make_layers(1, noise=5.0, seed=9) * 3
    chosen = metric("cka")
    null = null_scores(chosen, chosen.prepare(x), chosen.prepare(y), permutations(64, 6, 0), y)
    np.testing.assert_allclose(null, np.broadcast_to(null[:, :, :1], null.shape), atol=1e-6)
    assert len(set(null[:, 0, 0].tolist())) == 6


def test_permutations_depend_on_the_seed_alone():
    assert torch.equal(permutations(50, 3, 1), permutations(50, 3, 1))
    assert torch.equal(permutations(50, 3, 1), permutations(50, 5, 1)[:3])
    assert not torch.equal(permutations(50, 3, 1), permutations(50, 3, 2))


def test_benjamini_hochberg_equals_scipy():
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(0).uniform(size=30) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p.tolist()), false_discovery_control(p), atol=1e-12)
    assert benjamini_hochberg([]) == []


def test_wrong_settings_are_refused():
    with pytest.raises(UsageError, match="alpha"):
        calibrate(0.5, np.zeros(3), 1.0, BOUNDED)
    with pytest.raises(UsageError, match="median"):
        parse_statistic("median", 2, 2)
    with pytest.raises(UsageError, match="outside the 2 x 2"):
        parse_statistic((2, 0), 2, 2)


def _calibrated_draws(name, n_draws, n_layers, widths, n, n_permutations=99):
    """p-values and calibrated scores of independent Gaussian layers."""
    found = []
    for draw in range(n_draws):
        generator = torch.Generator().manual_seed(1000 + draw)
        x, y = (
            [torch.randn(n, w, generator=generator) for w in side] for side in (widths[:n_layers], widths[-n_layers:])
        )
        found.append(align(x, y, metric=name, null=n_permutations, seed=draw))
    return np.array([f.p_value for f in found]), np.array([f.calibrated for f in found])


def _assert_valid(p_values, scores, least_zero):
    assert (scores == 0).mean() >= least_zero
    for a in (0.02, 0.05, 0.1, 0.2, 0.5, 0.8):
        error = math.sqrt(a * (1 - a) / len(p_values))
        assert (p_values <= a).mean() <= a + 3 * error, a


@pytest.mark.parametrize("name", ["mutual_knn", "cka", "unbiased_cka"])
def test_independent_layers_are_seldom_called_alike_in_a_small_experiment(name):
    p_values, scores = _calibrated_draws(name, 40, 3, (8, 32, 128, 16, 64, 256), n=48, n_permutations=39)
    _assert_valid(p_values, scores, least_zero=0.85)


@pytest.mark.nightly
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("name", ["mutual_knn", "cka", "unbiased_cka"])
def test_calibration_on_500_draws_of_independent_gaussian_layers(name):
    """The calibrated score is 0 in at least 92 % of 500 draws at alpha = 0.05 and P(p <= a) <= a + 3 standard errors."""
    widths = (16, 64, 256, 1024, 4096, 32, 128, 512, 2048)
    p_values, scores = _calibrated_draws(name, 500, 4, widths, n=256)
    _assert_valid(p_values, scores, least_zero=0.92)


def test_power_rises_with_planted_structure(latent, make_layers):
    calibrated = [
        align(make_layers(2, noise=noise), make_layers(2, noise=noise, seed=5), null=99).calibrated
        for noise in (64.0, 4.0, 1.0, 0.25)
    ]
    assert calibrated[0] < 0.05
    assert calibrated == sorted(calibrated)
    assert calibrated[-1] > 0.4
