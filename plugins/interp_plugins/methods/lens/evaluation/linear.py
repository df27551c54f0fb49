"""Linear baselines in closed form, fitted on training rows: a probe for facts, a bottleneck, a re-embedding of tokens.

Axes: n rows, d width, m inputs, k outputs, f facts, t tokens, v vocabulary, r coordinates of a bottleneck.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp_registry.errors import DataError
from interp_registry.tensors.precision import to_float64
from interp_registry.tensors.seeding import generator

__all__ = ["LinearBottleneck", "Ridge", "comparable_rank", "fit_probe", "token_features"]

_RIDGE_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_BITS_PER_COORDINATE = 16


@dataclass(frozen=True)
class Ridge:
    """``y = (x - mean_x) W + mean_y``: least squares with a penalty on W, so that the mean is reproduced exactly."""

    weight: Float[Tensor, "m k"]
    mean_x: Float[Tensor, "m"]
    mean_y: Float[Tensor, "k"]

    @classmethod
    def fit(cls, x: Float[Tensor, "n m"], y: Float[Tensor, "n k"], penalty: float) -> Self:
        """Minimise ``mean |y - y_hat|^2 + penalty * mean variance of x * |W|^2``; float64.

        Raises:
            DataError: Fewer than two rows.
        """
        if len(x) < 2:
            raise DataError(f"{len(x)} rows are too few to fit a line")
        x, y = to_float64(x), to_float64(y)
        mean_x, mean_y = x.mean(0), y.mean(0)
        centred = x - mean_x
        gram = centred.T @ centred / len(x)
        scale = max(float(gram.diagonal().mean()), torch.finfo(torch.float64).tiny)
        eye = torch.eye(len(gram), dtype=torch.float64, device=gram.device)
        weight = torch.linalg.solve(gram + penalty * scale * eye, centred.T @ (y - mean_y) / len(x))
        return cls(weight, mean_x, mean_y)

    def __call__(self, x: Float[Tensor, "n m"]) -> Float[Tensor, "n k"]:
        """Predictions in float64."""
        return (to_float64(x) - self.mean_x) @ self.weight + self.mean_y


def fit_probe(
    activations: Float[Tensor, "n d"], facts: Bool[Tensor, "n f"], documents: Int[Tensor, "n"], seed: int = 0
) -> Ridge:
    """A linear probe for every fact at once: ridge regression onto 0 and 1, the penalty chosen on a tenth of the documents.

    Its outputs estimate probabilities, so they can be ranked across facts.

    Args:
        activations: Training rows.
        facts: Which facts hold of each.
        documents: Documents of the rows; those held out for the choice share none with the others.
        seed: Seed of the choice.
    """
    names, owner = documents.unique(return_inverse=True)
    held = torch.zeros(len(names), dtype=torch.bool)
    held[torch.randperm(len(names), generator=generator(seed, "probe split"))[: max(1, len(names) // 10)]] = True
    out = held[owner]
    if (~out).sum() < 2:
        raise DataError(f"{len(names)} documents are too few to fit a probe")
    y = to_float64(facts)
    errors = {
        penalty: (Ridge.fit(activations[~out], y[~out], penalty)(activations[out]) - y[out]).square().mean().item()
        for penalty in _RIDGE_GRID
    }
    return Ridge.fit(activations, y, min(errors, key=errors.__getitem__))


@dataclass(frozen=True)
class LinearBottleneck:
    """The first principal axes of the training rows; the coordinates along them are kept as bfloat16, everything else is the mean."""

    axes: Float[Tensor, "d r"]
    mean: Float[Tensor, "d"]

    @classmethod
    def fit(cls, activations: Float[Tensor, "n d"], rank: int) -> Self:
        """The ``rank`` axes of largest variance; no linear bottleneck of that rank explains more of the training rows."""
        rows = to_float64(activations)
        mean = rows.mean(0)
        centred = rows - mean
        _, axes = torch.linalg.eigh(centred.T @ centred)
        return cls(axes[:, axes.shape[1] - min(rank, axes.shape[1]) :], mean)

    def __call__(self, activations: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The activations as they are after the bottleneck, float32."""
        coordinates = ((to_float64(activations) - self.mean) @ self.axes).bfloat16().double()
        return (coordinates @ self.axes.T + self.mean).float()


def comparable_rank(n_tokens: int, vocabulary: int) -> int:
    """Coordinates of 16 bits that hold as many bits as ``n_tokens`` tokens: ``T log2(V) / 16``, rounded, at least 1."""
    return max(1, round(n_tokens * math.log2(vocabulary) / _BITS_PER_COORDINATE))


def token_features(
    logits: Float[Tensor, "n v"], unembedding: Float[Tensor, "v d"], n_tokens: int
) -> Float[Tensor, "n d"]:
    """Mean unembedding row of the ``n_tokens`` most likely tokens: a set of tokens as a vector, order and probabilities dropped."""
    return unembedding.float()[logits.topk(n_tokens, -1).indices].mean(-2)
