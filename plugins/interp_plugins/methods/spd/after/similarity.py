"""Geometric similarity of two decompositions of the same matrices.

Axis letters: ``i`` inputs, ``o`` outputs, ``a`` and ``b`` components of the two decompositions.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Similarity", "component_cosines", "similarity"]


def component_cosines(
    v_a: Float[Tensor, "i a"], u_a: Float[Tensor, "a o"], v_b: Float[Tensor, "i b"], u_b: Float[Tensor, "b o"]
) -> Float[Tensor, "a b"]:
    """Return |cosine| between the rank-one matrices of two decompositions, in [0, 1].

    ``<v u^T, v' u'^T> = <v, v'> <u, u'>``: the matrices themselves are never built. A zero component has cosine 0.
    """
    inner = (v_a.T @ v_b) * (u_a @ u_b.T)
    norms = (v_a.norm(dim=0) * u_a.norm(dim=1)).unsqueeze(1) * (v_b.norm(dim=0) * u_b.norm(dim=1)).unsqueeze(0)
    return (inner / norms.clamp_min(1e-12)).abs().clamp(max=1.0)


@dataclass(frozen=True)
class Similarity:
    """Best cosine of each live component of the first with any of the second."""

    mean: float
    std: float
    least: float
    largest: float
    n_alive: int


def similarity(cosines: Float[Tensor, "a b"], alive: Bool[Tensor, "a"]) -> Similarity:
    """Return statistics over the live components of the first decomposition; zeros if none lives."""
    best = cosines[alive].max(1).values if bool(alive.any()) else torch.zeros(0)
    if len(best) == 0:
        return Similarity(0.0, 0.0, 0.0, 0.0, 0)
    spread = float(best.std()) if len(best) > 1 else 0.0
    return Similarity(float(best.mean()), spread, float(best.min()), float(best.max()), len(best))
