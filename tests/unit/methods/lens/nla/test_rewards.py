"""The mathematics of GRPO, on numbers that can be checked by hand."""

import math

import pytest
import torch

from interp_plugins.methods.lens.nla.rewards import advantages, kl_estimate, mse_nrm, policy_loss, rewards_of


def test_the_normalised_error_is_twice_one_minus_the_cosine():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    b = torch.tensor([[7.0, 0.0], [0.0, 0.1], [-2.0, 0.0], [4.0, 3.0]])
    assert mse_nrm(a, b) == pytest.approx([0.0, 2.0, 4.0, 2 * (1 - 24 / 25)], abs=1e-6)
    assert mse_nrm(a * 9, b * 0.1) == pytest.approx(mse_nrm(a, b).tolist(), abs=1e-6)
    assert mse_nrm(torch.zeros(1, 2), b[:1]).isfinite().all()


def test_an_answer_without_an_explanation_gets_the_reward_of_an_orthogonal_one():
    parsed = torch.tensor([True, False])
    assert rewards_of(torch.tensor([0.5, 0.5]), parsed).tolist() == [-0.5, -2.0]
    found = rewards_of(torch.tensor([0.5, 0.0]), torch.tensor([True, True]), logarithmic=True)
    assert found[0] == pytest.approx(math.log(2))
    assert found[1].isfinite()


def test_advantages_are_standardised_within_each_group():
    rewards = torch.tensor([[1.0, 3.0], [-5.0, -5.0], [0.0, 1e-3]])
    assert advantages(rewards).tolist() == [[-1.0, 1.0], [0.0, 0.0], pytest.approx([-1.0, 1.0], abs=1e-3)]
    wide = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    found = advantages(wide)
    assert torch.allclose(found.mean(1), torch.zeros(4), atol=1e-6)
    assert torch.allclose(found.std(1, correction=0), torch.ones(4), atol=1e-5)
    assert torch.allclose(advantages(wide * 7 - 3), found, atol=1e-5)


def test_the_divergence_estimate_is_at_least_zero_and_right_in_the_mean():
    policy = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    other = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    estimate = kl_estimate(policy.log()[None], other.log()[None])[0]
    assert (estimate >= 0).all()
    exact = (policy * (policy / other).log()).sum()
    assert (policy * estimate).sum() == pytest.approx(float(exact))
    assert kl_estimate(policy.log()[None], policy.log()[None]).abs().max() == 0


def test_the_gradient_of_the_loss_is_the_policy_gradient_with_the_divergences():
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-0.5, -1.5, -9.0]], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    advantage = torch.tensor([1.0, -0.5], dtype=torch.float64)
    loss, divergence = policy_loss(logprobs, reference, mask, advantage, 0.1)
    loss.backward()
    ratio = (reference - logprobs.detach()).exp()
    counts = torch.tensor([[3.0], [2.0]], dtype=torch.float64)
    by_hand = (-advantage[:, None] + 0.1 * (1 - ratio)) * mask / counts / 2
    assert torch.allclose(logprobs.grad, by_hand)
    assert logprobs.grad[1, 2] == 0, "what follows the end of an answer does not count"
    assert loss.item() == pytest.approx(0.1 * divergence.item() - 0.25)
