"""Rank-one components of a weight matrix: initial values, activations, masked output.

A decomposed matrix ``W`` (input by output, so that a row of activations ``x`` gives ``x W``) is written as ``V U``: the
columns of ``V`` read from the input, the rows of ``U`` write to the output. What the components leave of the matrix,
``delta = W - V U``, can be kept as one more component.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows, ``i`` inputs, ``o`` outputs, ``c`` components.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.spd.factored import Rows

__all__ = ["init_from_target", "init_random", "inner_activations", "masked_output", "weight_delta"]


def init_from_target(
    weight: Float[Tensor, "*r i o"], n_components: int, generator: torch.Generator
) -> tuple[Float[Tensor, "*r i c"], Float[Tensor, "*r c o"]]:
    """Draw random directions and give each the part of the weight that lies in it.

    Columns of V are unit vectors, rows of U unit vectors times ``<v_c u_c, W> = v_c^T W u_c``: the recipe of the paper.

    Returns:
        V and U.
    """
    *runs, d_in, d_out = weight.shape
    v = torch.randn(*runs, d_in, n_components, generator=generator, device=weight.device)
    u = torch.randn(*runs, n_components, d_out, generator=generator, device=weight.device)
    v = v / v.norm(dim=-2, keepdim=True)
    u = u / u.norm(dim=-1, keepdim=True)
    overlap = ((v.mT @ weight) * u).sum(-1, keepdim=True)
    return v, u * overlap


def init_random(
    weight: Float[Tensor, "*r i o"], n_components: int, generator: torch.Generator
) -> tuple[Float[Tensor, "*r i c"], Float[Tensor, "*r c o"]]:
    """Draw V ~ N(0, 1 / d_in) and U ~ N(0, 1 / C) without looking at the weight: the later recipe (2026).

    Returns:
        V and U.
    """
    *runs, d_in, d_out = weight.shape
    v = torch.randn(*runs, d_in, n_components, generator=generator, device=weight.device) / math.sqrt(d_in)
    u = torch.randn(*runs, n_components, d_out, generator=generator, device=weight.device) / math.sqrt(n_components)
    return v, u


def inner_activations(x: Rows | Int[Tensor, "..."], v: Float[Tensor, "*r i c"]) -> Float[Tensor, "*r n c"]:
    """Return how strongly each component reads the input: ``x V``, or the rows ``V[x]`` where x holds token ids."""
    if not isinstance(x, Tensor) or x.is_floating_point():
        return x @ v
    return v[x]


def weight_delta(
    weight: Float[Tensor, "*r i o"], v: Float[Tensor, "*r i c"], u: Float[Tensor, "*r c o"]
) -> Float[Tensor, "*r i o"]:
    """Return what the components leave of the weight, ``W - V U``; differentiable in both."""
    return weight - v @ u


def masked_output(
    inner: Float[Tensor, "*r n c"],
    u: Float[Tensor, "*r c o"],
    mask: Float[Tensor, "*r n c"] | None,
    target: Float[Tensor, "*r n o"] | None = None,
    delta_mask: Float[Tensor, "*r n"] | None = None,
) -> Float[Tensor, "*r n o"]:
    """Return ``(h * mask) U``, plus ``delta_mask * (x delta)`` if a delta mask is given; no bias.

    With ``x delta = x W - h U`` the two become ``(h * (mask - m)) U + m * (x W)``: one product, no delta matrix, and
    masks of one give ``x W`` exactly, bit for bit.

    Args:
        inner: Inner activations ``h = x V``.
        u: Output directions.
        mask: Component masks; None is all ones.
        target: ``x W`` for the same input (needed with a delta mask).
        delta_mask: One number per row.

    Raises:
        ValueError: If a delta mask comes without the target's output.
    """
    if delta_mask is None:
        return (inner if mask is None else inner * mask) @ u
    if target is None:
        msg = "a delta mask needs the target's output for the same input; got none"
        raise ValueError(msg)
    share = delta_mask.unsqueeze(-1)
    kept = (1 if mask is None else mask) - share
    return (inner * kept) @ u + share * target
