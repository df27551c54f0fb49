"""Fractions of variance, divergences, bits per byte: against values worked out by hand or by torch."""

import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from interp_plugins.methods.lens.evaluation import measures as m


@pytest.fixture
def rows():
    source = torch.Generator().manual_seed(0)
    return torch.randn(40, 7, generator=source) + 3, torch.randn(40, 7, generator=source)


def test_fve_is_one_for_a_perfect_reconstruction_and_zero_for_the_mean(rows):
    a, _ = rows
    mean = a.mean(0)
    assert m.fve(a, a, mean) == 1.0
    assert m.fve(a, mean.expand_as(a), mean) == 0.0


def test_fve_is_one_minus_a_ratio_of_sums_in_float64(rows):
    a, noise = rows
    mean, made = a.mean(0), a + 0.3 * noise
    x, y, centre = a.double().numpy(), made.double().numpy(), mean.double().numpy()
    expected = 1 - ((x - y) ** 2).sum() / ((x - centre) ** 2).sum()
    assert m.fve(a, made, mean) == pytest.approx(expected, abs=1e-14)


def test_fve_counts_a_constant_offset_as_an_error(rows):
    a, _ = rows
    assert m.fve(a, a + 1, a.mean(0)) < 0.5  # the variance of the residual is 0 here


def test_fve_of_rows_that_do_not_vary_is_undefined():
    a = torch.ones(3, 2)
    assert math.isnan(m.fve(a, a, a.mean(0)))


def test_normalised_fve_is_that_of_natural_language_autoencoders():
    v = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    p = torch.tensor([[4.0, 3.0], [0.0, 9.0]])
    scaled = math.sqrt(2) * torch.tensor([[0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    variance = float((scaled - scaled.mean(0)).square().mean())
    other = math.sqrt(2) * torch.tensor([[0.8, 0.6], [0.0, 1.0]], dtype=torch.float64)
    expected = 1 - float((scaled - other).square().mean()) / variance
    assert m.fve_normalised(v, p, variance) == pytest.approx(expected, abs=1e-12)
    assert m.normalised_errors(v, p).tolist() == pytest.approx([2 * (1 - 0.96), 0.0], abs=1e-12)


def test_normalised_errors_end_at_four_for_opposite_vectors():
    v = torch.tensor([[1.0, 2.0]])
    assert m.normalised_errors(v, -5 * v).item() == pytest.approx(4.0)


def test_the_centred_cosine_does_not_reward_a_shared_mean(rows):
    a, noise = rows
    far = a + 100
    assert m.cosine(far, noise + 103).mean() > 0.99
    assert abs(m.cosine(far, noise + 103, far.mean(0)).mean()) < 0.2
    assert m.cosine(a, torch.zeros_like(a)).tolist() == [0.0] * 40


def test_kl_is_that_of_torch_and_exactly_zero_between_equal_logits(rows):
    p, q = rows
    expected = kl_divergence(Categorical(logits=p.double()), Categorical(logits=q.double()))
    assert torch.allclose(m.kl_divergence(p, q), expected, atol=1e-12)
    assert m.kl_divergence(p, p).tolist() == [0.0] * 40


def test_entropy_and_cross_entropy(rows):
    p, _ = rows
    assert torch.allclose(m.entropy(p), Categorical(logits=p.double()).entropy(), atol=1e-12)
    targets = torch.arange(40) % 7
    assert torch.allclose(
        m.cross_entropy(p, targets), torch.nn.functional.cross_entropy(p.double(), targets, reduction="none")
    )
