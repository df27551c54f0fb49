"""Rewards and losses of natural-language autoencoders; pure functions.

Axes: n rows, p prompts, k answers to a prompt, t tokens, d width.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["FAILED", "advantages", "kl_estimate", "mse_nrm", "policy_loss", "rewards_of"]

FAILED = -2.0
"""Reward of an answer that has not the form of an explanation: as if the reconstruction were orthogonal."""

_LEAST = 1e-12
_LEAST_SPREAD = 1e-6


def mse_nrm(predicted: Float[Tensor, "n d"], actual: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """Mean squared difference when both have length sqrt(d): ``2 (1 - cos)``, in [0, 4]; 2 when they are orthogonal.

    Fraser-Taliente et al. 2026. It sees directions only: invariant to the lengths of both.
    """
    scale = math.sqrt(actual.shape[-1])
    return (_at_length(predicted, scale) - _at_length(actual, scale)).square().mean(-1)


def _at_length(vectors: Float[Tensor, "n d"], length: float) -> Float[Tensor, "n d"]:
    wide = vectors.float()
    return wide * (length / wide.norm(dim=-1, keepdim=True).clamp_min(_LEAST))


def rewards_of(
    error: Float[Tensor, "n"], parsed: Bool[Tensor, "n"], *, logarithmic: bool = False
) -> Float[Tensor, "n"]:
    """Minus the normalised error, or minus its logarithm; :data:`FAILED` for answers without an explanation."""
    gained = -error.clamp_min(_LEAST).log() if logarithmic else -error
    return torch.where(parsed, gained, torch.full_like(gained, FAILED))


def advantages(rewards: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
    """Rewards relative to the other answers to the same prompt: mean 0 and standard deviation 1 in each group (GRPO).

    A group whose rewards are all alike says nothing: its advantages are 0. Invariant to a shift and a positive scale of a group.
    Shao et al. 2024, "DeepSeekMath", section 4.1.
    """
    centred = rewards - rewards.mean(1, keepdim=True)
    spread = centred.square().mean(1, keepdim=True).sqrt()
    return torch.where(spread > _LEAST_SPREAD, centred / spread.clamp_min(_LEAST_SPREAD), torch.zeros_like(centred))


def kl_estimate(logprobs: Float[Tensor, "n t"], reference: Float[Tensor, "n t"]) -> Float[Tensor, "n t"]:
    """Estimate of KL(policy || reference) at each drawn token, at least 0: ``r - log r - 1`` with ``r = reference / policy``.

    Its mean over draws from the policy is the divergence (Schulman 2020, "Approximating KL divergence", k3).
    """
    log_ratio = reference - logprobs
    return log_ratio.exp() - log_ratio - 1


def policy_loss(
    logprobs: Float[Tensor, "n t"],
    reference: Float[Tensor, "n t"],
    mask: Bool[Tensor, "n t"],
    advantage: Float[Tensor, "n"],
    kl_coefficient: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """GRPO's loss for one update on fresh draws, and the mean divergence from the reference.

    Tokens are averaged within an answer, then answers. With one update per draw the ratio of policies is 1, and its gradient that of
    the log-probability: there is nothing to clip.

    Args:
        logprobs: Of the drawn tokens, under the policy that drew them.
        reference: Under the reference policy.
        mask: Tokens that count.
        advantage: One per answer.
        kl_coefficient: Weight of the divergence.
    """
    real = mask.to(logprobs.dtype)
    counts = real.sum(1).clamp_min(1)
    ratio = (logprobs - logprobs.detach()).exp()
    gain = ((ratio * advantage[:, None] * real).sum(1) / counts).mean()
    divergence = ((kl_estimate(logprobs, reference) * real).sum(1) / counts).mean()
    return kl_coefficient * divergence - gain, divergence
