"""Centred kernel alignment: linear or rbf kernel, biased or unbiased estimator.

Axis letters: n samples, d features.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from interp_plugins.metrics.config import CkaConfig
from interp_plugins.metrics.gram import double_centred, require_enough, u_centred
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.leave_one_out import cka_without_each
from interp_plugins.metrics.relational import RelationalMetric

__all__ = ["Cka", "median_width", "rbf_kernel", "squared_distances"]

PLATONIC_EPSILON = 1e-6


class Cka(RelationalMetric):
    """Cosine of centred kernel matrices, in [0, 1] when biased and in [-1, 1] when not.

    Biased: tr(K H L H) / sqrt(tr(K H K H) tr(L H L H)) (Kornblith et al. 2019, eq. 4). Independent Gaussians of width d give
    about d/(n + d) > 0. Unbiased: the same with the HSIC estimator of Song et al. (2012, eq. 4), whose mean is 0 under
    independence. Invariant to rotation, isotropic scaling and translation of either side.
    """

    def __init__(self, config: CkaConfig) -> None:
        self.kernel, self.sigma, self.biased = config.kernel, config.sigma, config.biased
        self.epsilon = PLATONIC_EPSILON if config.compat == "platonic" else 0.0
        self.info = config.describe()

    def relations(self, bank: LayerBank) -> Iterator[Float[Tensor, "n n"]]:
        """The centred kernel matrix of each layer.

        Raises:
            DataError: The unbiased estimator has fewer than four samples.
        """
        if not self.biased:
            require_enough(bank.n, "metric 'cka'")
        for centred in bank.centred_grams():
            if self.kernel == "linear":
                yield centred if self.biased else u_centred(centred)
            else:
                kernel = rbf_kernel(centred, self.sigma)
                yield double_centred(kernel) if self.biased else u_centred(kernel)

    @property
    def can_leave_one_out(self) -> bool:
        """Only with the linear kernel and without the published 1e-6."""
        return self.kernel == "linear" and self.epsilon == 0

    def leave_one_out(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> Float64[Tensor, "n Lx Ly"]:
        """Scores of all pairs of layers with each sample left out in turn."""
        return self.finish(cka_without_each(LayerBank.of(x), LayerBank.of(y), self.biased))

    def unit(self, n: int) -> float:
        """1 for the biased trace; n(n-3) for the unbiased estimator."""
        return 1.0 if self.biased else float(n * (n - 3))


def squared_distances(gram: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Squared Euclidean distances from inner products, >= 0, with an exact zero diagonal."""
    squares = gram.diagonal()
    return (squares[:, None] + squares[None, :] - 2 * gram).clamp_(min=0).fill_diagonal_(0)


def median_width(distances: Float[Tensor, "n n"]) -> float:
    """Median heuristic: the square root of the median squared distance between different samples."""
    upper = distances[torch.ones_like(distances, dtype=torch.bool).triu(1)]
    return float(upper.median().sqrt())


def rbf_kernel(gram: Float[Tensor, "n n"], sigma: float | None = None) -> Float[Tensor, "n n"]:
    """exp(-d^2 / (2 sigma^2)) from inner products; sigma by the median heuristic when None."""
    distances = squared_distances(gram)
    width = median_width(distances) if sigma is None else sigma
    return torch.exp(distances / (-2 * max(width, torch.finfo(gram.dtype).tiny ** 0.5) ** 2))
