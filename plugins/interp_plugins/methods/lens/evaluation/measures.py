"""Measures of a reconstruction and of a prediction; all sums are in float64, on the CPU where the device has none.

Axes: n rows, d width, v vocabulary.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp_registry.tensors.precision import to_float64

__all__ = [
    "agreement",
    "cosine",
    "cross_entropy",
    "entropy",
    "fve",
    "fve_normalised",
    "kl_divergence",
    "normalised_errors",
    "squared_errors",
    "squared_spread",
]


def squared_errors(activations: Float[Tensor, "n d"], reconstructions: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """``|a - a_hat|^2`` of each row, in [0, inf)."""
    return (to_float64(activations) - to_float64(reconstructions)).square().sum(-1)


def squared_spread(activations: Float[Tensor, "n d"], mean: Float[Tensor, "d"]) -> Float[Tensor, "n"]:
    """``|a - mean|^2`` of each row: the error of the predictor that always says the mean."""
    return (to_float64(activations) - to_float64(mean)).square().sum(-1)


def fve(activations: Float[Tensor, "n d"], reconstructions: Float[Tensor, "n d"], mean: Float[Tensor, "d"]) -> float:
    """Fraction of variance explained, in (-inf, 1].

    ``1 - sum |a - a_hat|^2 / sum |a - mean|^2``: 1 for a perfect reconstruction, 0 for the mean. It is not the variance of the residual,
    which would count a constant offset as explained. NaN when no row differs from the mean.
    """
    spread = squared_spread(activations, mean).sum()
    return float(1 - squared_errors(activations, reconstructions).sum() / spread) if spread > 0 else math.nan


def normalised_errors(activations: Float[Tensor, "n d"], reconstructions: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """Mean over d of ``(v_n - p_n)^2`` with ``v_n = v sqrt(d) / |v|``: equals ``2 (1 - cos)``, in [0, 4]; a zero vector stays zero."""
    return squared_errors(_unit(activations), _unit(reconstructions))


def fve_normalised(
    activations: Float[Tensor, "n d"], reconstructions: Float[Tensor, "n d"], normalised_variance: float
) -> float:
    """Fraction of variance explained after scaling every row to length sqrt(d), in (-inf, 1].

    ``fve_nrm = 1 - mean_i mean_d (v_n - p_n)^2 / Var(v_n)`` (Fraser-Taliente et al. 2026). It sees directions only.

    Args:
        activations: What was to be reconstructed.
        reconstructions: The reconstructions.
        normalised_variance: ``mean (v_n - mean v_n)^2`` over training rows; NaN is returned when it is 0.
    """
    if normalised_variance <= 0:
        return math.nan
    return float(1 - normalised_errors(activations, reconstructions).mean() / normalised_variance)


def cosine(
    activations: Float[Tensor, "n d"], reconstructions: Float[Tensor, "n d"], mean: Float[Tensor, "d"] | None = None
) -> Float[Tensor, "n"]:
    """Cosine of each row with its reconstruction, in [-1, 1]; 0 where either is the zero vector.

    Args:
        activations: What was to be reconstructed.
        reconstructions: The reconstructions.
        mean: Subtracted from both (the training mean gives the centred cosine). Without it rows that share a large mean look alike.
    """
    offset = 0.0 if mean is None else to_float64(mean)
    return (_unit(to_float64(activations) - offset) * _unit(to_float64(reconstructions) - offset)).sum(-1)


def kl_divergence(reference: Float[Tensor, "*n v"], other: Float[Tensor, "*n v"]) -> Float[Tensor, "*n"]:
    """KL(reference || other) in nats of the distributions that two sets of logits give, at least 0."""
    p, q = to_float64(reference).log_softmax(-1), to_float64(other).log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).clamp_min(0)


def agreement(reference: Float[Tensor, "*n v"], other: Float[Tensor, "*n v"]) -> Bool[Tensor, "*n"]:
    """Whether both have the same most likely token."""
    return reference.argmax(-1) == other.argmax(-1)


def cross_entropy(logits: Float[Tensor, "*n v"], targets: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Surprisal of the targets in nats."""
    logp = to_float64(logits).log_softmax(-1)
    return -logp.gather(-1, targets.long().to(logp.device)[..., None])[..., 0]


def entropy(logits: Float[Tensor, "*n v"]) -> Float[Tensor, "*n"]:
    """Entropy in nats of the distributions that logits give, in [0, ln v]."""
    logp = to_float64(logits).log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def _unit(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    exact = to_float64(rows)
    norms = exact.norm(dim=-1, keepdim=True)
    return torch.where(norms > 0, exact / norms.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
