"""Losses on causal importances and on weights: no forward pass is needed.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows (or batch and position), ``c`` components, ``i`` inputs,
``o`` outputs.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "faithfulness",
    "firing",
    "frequency_minimality",
    "importance_minimality",
    "relative_faithfulness",
    "schatten",
]


def faithfulness(deltas: Mapping[str, Float[Tensor, "*r i o"]]) -> Float[Tensor, "*r"]:
    """Return ``sum_l |W_l - V_l U_l|^2 / sum_l numel(W_l)``: mean squared error of the weights; >= 0."""
    total = torch.stack([delta.square().sum((-2, -1)) for delta in deltas.values()]).sum(0)
    return total / sum(delta.shape[-2] * delta.shape[-1] for delta in deltas.values())


def relative_faithfulness(
    deltas: Mapping[str, Float[Tensor, "*r i o"]], weights: Mapping[str, Float[Tensor, "*r i o"]]
) -> Float[Tensor, "*r"]:
    """Return the mean over modules of ``|W - V U|^2 / |W|^2``: 1 for no components, 0 for an exact sum."""
    parts = [delta.square().sum((-2, -1)) / weights[name].square().sum((-2, -1)) for name, delta in deltas.items()]
    return torch.stack(parts).mean(0)


def firing(
    upper: Float[Tensor, "... c"], p: float | Tensor, eps: float = 1e-12, gamma: float | None = None
) -> Float[Tensor, "... c"]:
    """Return how much each importance counts: ``(ci + eps)^p``, or ``ci^2 / (ci^2 + gamma^2)`` with a gamma (smooth L0)."""
    if gamma is not None:
        squared = upper.square()
        return squared / (squared + gamma * gamma)
    if isinstance(p, float) and p == 1.0:
        return upper + eps
    if isinstance(p, float) and p == 2.0:
        return (upper + eps).square()
    return (upper + eps) ** p


def importance_minimality(sums: Float[Tensor, "*r c"], n_rows: float, beta: float = 0.0) -> Float[Tensor, "*r"]:
    """Return ``sum_c m_c (1 + beta log2(1 + sum_c))`` with the batch sum and mean ``m_c`` of each component.

    Args:
        sums: Batch sums of :func:`firing`, components of all modules side by side.
        n_rows: Rows in the batch.
        beta: Weight of the frequency term.
    """
    means = sums / n_rows
    if beta:
        means = means * (1 + beta * torch.log2(1 + sums))
    return means.sum(-1)


def frequency_minimality(means: Float[Tensor, "*r c"], reference: float) -> Float[Tensor, "*r"]:
    """Return ``sum_c f_c log2(1 + a f_c)`` of mean firings f: rare components cost less than frequent ones.

    Args:
        means: Mean firing of each component over batch and positions.
        reference: The fixed number of positions ``a``, so that the loss does not depend on the batch size.
    """
    return (means * torch.log2(1 + reference * means)).sum(-1)


def schatten(
    powered: Float[Tensor, "*r n c"], v: Float[Tensor, "*r i c"], u: Float[Tensor, "*r c o"]
) -> Float[Tensor, "*r n"]:
    """Return, per row, ``sum_c upper_c^p (|V_c|^2 + |U_c|^2)`` of one module: a bound on its Schatten quasi-norm."""
    norms = v.square().sum(-2) + u.square().sum(-1)
    return (powered * norms.unsqueeze(-2)).sum(-1)
