"""Normalised-cut loss: the eigengap of a graph's normalised Laplacian.

Axis letters: n nodes, d features.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.losses.config import NcutLoss
from interp_plugins.losses.rows import check_pair, full_precision, raise_precision, unit_rows
from interp_registry.errors import DataError
from interp_registry.tensors.precision import precise_device

__all__ = ["NormalisedCutGap", "eigengap_loss", "laplacian_eigenvalues"]


@full_precision
def laplacian_eigenvalues(features: Float[Tensor, "n d"], sigma: float | None = None) -> Float[Tensor, "n"]:
    r"""Eigenvalues, ascending in [0, 2], of :math:`I - D^{-1/2} W D^{-1/2}` with :math:`W = \exp(-d^2/2\sigma^2)`, self loops kept.

    Args:
        features: One row per node.
        sigma: Width of the affinity; default: the median distance between different nodes, taken without gradient.

    Raises:
        DataError: Fewer than two nodes, or ``sigma`` is not positive (all nodes equal).
    """
    if features.ndim != 2 or features.shape[0] < 2:
        raise DataError(f"got {list(features.shape)}, expected a matrix with at least two rows")
    features = raise_precision(features)
    if not features.isfinite().all():
        raise DataError("an embedding is not finite", "look for an overflow in the model")
    squares = features.square().sum(dim=-1)
    distances = (squares[:, None] + squares[None, :] - 2 * features @ features.T).clamp_min(0)
    width = _median_distance(distances) if sigma is None else sigma
    if not width > 0:
        raise DataError(f"sigma is {width}, expected a positive width", "are all nodes equal?")
    affinity = torch.exp(-distances / (2 * width**2))
    scale = affinity.sum(dim=-1).rsqrt()
    eye = torch.eye(features.shape[0], dtype=features.dtype, device=features.device)
    laplacian = eye - scale[:, None] * affinity * scale[None, :]
    return torch.linalg.eigvalsh(laplacian.to(precise_device(features.device))).to(features.device)


def _median_distance(squared: Float[Tensor, "n n"]) -> float:
    n = squared.shape[0]
    upper = torch.triu_indices(n, n, offset=1, device=squared.device)
    return squared.detach()[upper[0], upper[1]].median().sqrt().item()


def eigengap_loss(
    eigenvalues: Float[Tensor, "n"], k: int, alpha: float = 1.0, beta: float = 0.5, *, compat: bool = False
) -> Float[Tensor, ""]:
    r""":math:`-\alpha(\lambda_{k+1} - \lambda_k) + \beta\sum_{i=2}^{k}\lambda_i`, eigenvalues ascending from :math:`\lambda_1`.

    Low when k clusters are far apart: the first k eigenvalues are then near 0 and the next is not.

    Args:
        eigenvalues: All or the smallest k + 1 Laplacian eigenvalues, ascending.
        k: Number of clusters.
        alpha: Weight of the gap.
        beta: Weight of the eigenvalues below it.
        compat: The earlier study's second term, minus beta times the sum of the 2nd to the (k+1)-th.

    Raises:
        DataError: ``k`` is below 1, or there are not k + 1 eigenvalues.
    """
    if not 1 <= k < eigenvalues.shape[0]:
        raise DataError(
            f"k is {k}, expected between 1 and {eigenvalues.shape[0] - 1} for {eigenvalues.shape[0]} eigenvalues"
        )
    values = raise_precision(eigenvalues)
    gap = values[k] - values[k - 1]
    below = -values[1 : k + 1].sum() if compat else values[1:k].sum()
    return -alpha * gap + beta * below


class NormalisedCutGap:
    """The eigengap loss with a configuration: of eigenvalues, of one set of rows, or of pairs."""

    def __init__(self, config: NcutLoss) -> None:
        self.config = config

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Float[Tensor, ""]:
        """The loss of ascending eigenvalues (a vector), of nodes (a matrix), or of the pairs' graph (two matrices)."""
        config = self.config
        values = x if x.ndim == 1 and y is None else laplacian_eigenvalues(self._nodes(x, y), config.sigma)
        return eigengap_loss(values, config.k, config.alpha, config.beta, compat=config.compat)

    def _nodes(self, x: Tensor, y: Tensor | None) -> Float[Tensor, "n d"]:
        x = unit_rows(raise_precision(x)) if self.config.normalize else raise_precision(x)
        if y is None or self.config.graph == "first":
            return x
        check_pair(x, y)
        y = unit_rows(raise_precision(y)) if self.config.normalize else raise_precision(y)
        return y if self.config.graph == "second" else torch.cat([x, y])
