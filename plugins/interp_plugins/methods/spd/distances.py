"""Distances between the output of a masked forward pass and the target model's output.

Each function returns a *sum* per run and the caller divides by the number of examples, so that rows may be left out
(rows whose distance is zero by construction) and passes over several batches or processes be added.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows (batch and position), ``o`` outputs.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["DISTANCES", "kl_per_position", "sum_kl", "sum_squared_error"]


def sum_squared_error(
    prediction: Float[Tensor, "*r n o"], target: Float[Tensor, "*r n o"], run_dims: int = 0
) -> tuple[Float[Tensor, "*r"], float]:
    """Return the summed squared error per run and the number of outputs of one row."""
    squared = (prediction - target).square()
    return squared.sum(tuple(range(run_dims, squared.dim()))), float(target.shape[-1])


def kl_per_position(prediction: Float[Tensor, "... v"], target: Float[Tensor, "... v"]) -> Float[Tensor, "..."]:
    """Return ``KL(target || prediction)`` of the two softmaxes at every position, in nats; >= 0."""
    log_q = torch.log_softmax(prediction, -1)
    log_p = torch.log_softmax(target, -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def sum_kl(
    prediction: Float[Tensor, "*r n v"], target: Float[Tensor, "*r n v"], run_dims: int = 0
) -> tuple[Float[Tensor, "*r"], float]:
    """Return the summed divergence per run, in nats, and one (a row is one example)."""
    divergence = kl_per_position(prediction, target)
    return divergence.sum(tuple(range(run_dims, divergence.dim()))), 1.0


SumDistance = Callable[[Tensor, Tensor, int], tuple[Tensor, float]]
DISTANCES: dict[str, SumDistance] = {"mse": sum_squared_error, "kl": sum_kl}


def rows_in(lead: torch.Size, run_dims: int) -> int:
    """Return the number of rows of one run in a leading shape."""
    return math.prod(lead[run_dims:])
