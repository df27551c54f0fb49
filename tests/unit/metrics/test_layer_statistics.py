import math

import pytest
import torch

from interp_plugins.methods.align.metric_choice import metric
from interp_plugins.metrics.layer_statistics import layer_statistics, spectral_statistics, two_nearest_dimension


def gaussian(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_spectrum(n, d, values):
    left = torch.linalg.qr(gaussian(n, len(values)) - gaussian(n, len(values)).mean(0)).Q
    left = torch.linalg.qr(left - left.mean(0)).Q
    right = torch.linalg.qr(gaussian(d, len(values), 1)).Q
    return left * torch.tensor(values, dtype=torch.float64) @ right.T


@pytest.mark.parametrize(("n", "d"), [(100, 30), (40, 200)])
def test_spectra_of_known_layers(n, d):
    flat = spectral_statistics(with_spectrum(n, d, [3.0] * 8) + 7)
    assert flat["effective_rank"] == pytest.approx(8)
    assert flat["participation_ratio"] == pytest.approx(8)
    assert flat["dims_95"] == 8
    assert flat["spectral_decay"] == pytest.approx(0, abs=1e-6)
    power = spectral_statistics(with_spectrum(n, d, [(r + 1) ** -0.75 for r in range(20)]))
    assert power["spectral_decay"] == pytest.approx(1.5, abs=1e-6)
    values = torch.tensor([1.0, 0.5, 0.25, 0.25])
    mixed = spectral_statistics(with_spectrum(n, d, values.tolist()))
    shares = values**2 / (values**2).sum()
    assert mixed["participation_ratio"] == pytest.approx(float(1 / (shares**2).sum()))
    assert mixed["top_share"] == pytest.approx(float(shares[0]))
    p = values / values.sum()
    assert mixed["effective_rank"] == pytest.approx(math.exp(float(-(p * p.log()).sum())))


@pytest.mark.parametrize("dimension", [2, 5])
def test_intrinsic_dimension_of_an_embedded_cube_is_found(dimension):
    cube = torch.rand(1500, dimension, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    embedded = cube @ torch.linalg.qr(gaussian(40, dimension)).Q.T
    assert two_nearest_dimension(embedded) == pytest.approx(dimension, rel=0.12)
    assert two_nearest_dimension(embedded * 100 + 3) == pytest.approx(two_nearest_dimension(embedded))


def test_copies_of_samples_leave_nothing_to_estimate_from():
    assert math.isnan(two_nearest_dimension(gaussian(4, 3).repeat(3, 1)))


def test_change_between_layers():
    x = gaussian(60, 12)
    statistics = layer_statistics([x, x, -x, 3 * x, gaussian(60, 5, seed=4)])
    assert math.isnan(statistics[0].drift)
    assert statistics[1].drift == 0
    assert statistics[1].cka_previous == pytest.approx(1)
    assert statistics[2].turn == pytest.approx(math.pi, abs=1e-6)
    assert statistics[2].topology_first == pytest.approx(0, abs=1e-6)
    assert statistics[3].norm == pytest.approx(3 * statistics[0].norm)
    assert math.isnan(statistics[4].drift)
    assert statistics[4].cka_previous == pytest.approx(metric("cka")(3 * x, gaussian(60, 5, seed=4)))


def test_anisotropy_is_the_mean_cosine_of_different_samples():
    x = gaussian(30, 6) + 1
    unit = torch.nn.functional.normalize(x)
    cosines = unit @ unit.T
    expected = (cosines.sum() - 30) / (30 * 29)
    assert layer_statistics([x])[0].anisotropy == pytest.approx(float(expected))
