"""Metrics of distances between samples: representational similarity analysis and distance correlation.

Axis letters: n samples, d features, p = n(n-1)/2 pairs of samples, Lx and Ly layers.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from interp_plugins.metrics.cka import squared_distances
from interp_plugins.metrics.config_variants import DistanceCorrelationConfig, RsaConfig
from interp_plugins.metrics.gram import double_centred, gram, require_enough, u_centred
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.relational import RelationalMetric, triangle
from interp_registry.contracts.metric import State

__all__ = ["DistanceCorrelation", "KendallRsa", "Rsa", "average_ranks", "dissimilarities", "make_rsa"]


def make_rsa(config: RsaConfig) -> "Rsa | KendallRsa":
    """The RSA metric with the comparison that is set."""
    return KendallRsa(config) if config.comparison == "kendall" else Rsa(config)


class Rsa(RelationalMetric):
    """Correlation of dissimilarity matrices over all pairs of samples, in [-1, 1] (Kriegeskorte et al. 2008).

    Pearson's r or Spearman's rho (ties take their mean rank) of the upper triangles.
    """

    def __init__(self, config: RsaConfig) -> None:
        self.dissimilarity, self.ranked = config.dissimilarity, config.comparison == "spearman"
        self.info = config.describe()

    def relations(self, bank: LayerBank) -> Iterator[Float[Tensor, "n n"]]:
        """Dissimilarities (or their ranks), centred over the pairs of samples, with a zero diagonal."""
        index = triangle(bank.n, bank[0].device)
        for layer in bank:
            matrix = dissimilarities(layer, self.dissimilarity)
            values = matrix.reshape(-1)[index].double()
            values = average_ranks(values) if self.ranked else values
            out = torch.zeros_like(matrix)
            out.view(-1)[index] = _unit(values - values.mean()).to(matrix.dtype)
            yield out + out.T


class KendallRsa:
    """Kendall's tau-b of dissimilarity matrices over all pairs of samples, in [-1, 1]; n^2 log n operations per pair of layers.

    State: ``distances [L, p]``.
    """

    def __init__(self, config: RsaConfig) -> None:
        self.dissimilarity = config.dissimilarity
        self.info = config.describe()

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Dissimilarities of all pairs of samples."""
        index = triangle(layers[0].shape[0], layers[0].device)
        return {"distances": torch.stack([dissimilarities(x, self.dissimilarity).reshape(-1)[index] for x in layers])}

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        left, right = x["distances"].cpu().numpy(), y["distances"].cpu().numpy()
        return torch.tensor([[_tau(a, b) for b in right] for a in left], dtype=torch.float64)


class DistanceCorrelation(RelationalMetric):
    """Distance correlation: 0 only under independence, 1 for similar point clouds.

    Biased: dCor = sqrt of the cosine of the double-centred distance matrices, in [0, 1] (Székely, Rizzo, Bakirov 2007).
    Unbiased: the cosine of the U-centred ones, in [-1, 1], an estimate of dCor^2 with mean about 0 under independence (Székely
    and Rizzo 2014, eq. 2.6).
    """

    def __init__(self, config: DistanceCorrelationConfig) -> None:
        self.biased = config.biased
        self.info = config.describe()

    def relations(self, bank: LayerBank) -> Iterator[Float[Tensor, "n n"]]:
        """Centred matrices of Euclidean distances.

        Raises:
            DataError: The unbiased estimator has fewer than four samples.
        """
        if not self.biased:
            require_enough(bank.n, "biased=True")
        for centred in bank.centred_grams():
            distances = squared_distances(centred).sqrt()
            yield double_centred(distances) if self.biased else u_centred(distances)

    def finish(self, cosines: Tensor) -> Tensor:
        """The square root of the biased cosine."""
        return cosines.clamp(min=0).sqrt() if self.biased else cosines


def _tau(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(a, b)[0])  # pyright: ignore[reportArgumentType] - a named tuple of floats


def dissimilarities(x: Float[Tensor, "n d"], kind: str) -> Float[Tensor, "n n"]:
    """Dissimilarity of all pairs of rows, with a zero diagonal.

    ``correlation``: 1 - Pearson's r of the rows; ``cosine``: 1 - cosine; ``euclidean``: distance; ``squared``: its square.
    """
    if kind in ("correlation", "cosine"):
        rows = x - x.mean(dim=1, keepdim=True) if kind == "correlation" else x
        return (1 - gram(torch.nn.functional.normalize(rows, dim=1))).fill_diagonal_(0)
    squares = squared_distances(gram(x - x.mean(dim=0)))
    return squares if kind == "squared" else squares.sqrt()


def average_ranks(values: Float64[Tensor, " p"]) -> Float64[Tensor, " p"]:
    """Ranks from 1 to p; equal values share the mean of their ranks."""
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    return (last - (counts - 1) / 2).double()[inverse]


def _unit(values: Float64[Tensor, " p"]) -> Float64[Tensor, " p"]:
    """Scaled to unit norm, so that single precision keeps its digits."""
    return values / values.norm().clamp(min=torch.finfo(values.dtype).tiny)
