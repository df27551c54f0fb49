"""Eigenvalues and eigenvectors of a normalised graph, and what is read off them.

Axis letters: n nodes, q eigenvectors.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp_registry.errors import DataError

__all__ = ["Spectrum", "eigengap_clusters", "fixed_signs"]

TIE = 1e-6


@dataclass(frozen=True)
class Spectrum:
    """The smallest eigenvalues of the normalised Laplacian I - D^-1/2 W D^-1/2 and their vectors.

    Attributes:
        eigenvalues: Ascending, in [0, 2]; the first is 0.
        eigenvectors: Columns of unit length with fixed signs; the first is trivial (the square root of the degrees).
        degrees: Row sums of the affinity.
        solver: What computed them.
    """

    eigenvalues: Float[Tensor, "q"]
    eigenvectors: Float[Tensor, "n q"]
    degrees: Float[Tensor, "n"]
    solver: str


def fixed_signs(vectors: Float[Tensor, "n q"]) -> Float[Tensor, "n q"]:
    """Columns with the sign that makes their largest entry in absolute value positive.

    Where the largest positive and negative entries are equal to a relative 1e-6, the sum of the cubes decides. Independent of the
    order of the rows.
    """
    high, low = vectors.amax(dim=0), -vectors.amin(dim=0)
    cubes = vectors.pow(3).sum(dim=0)
    tied = (high - low).abs() <= TIE * torch.maximum(high, low)
    negative = torch.where(tied, cubes < 0, low > high)
    return torch.where(negative, -vectors, vectors)


def eigengap_clusters(eigenvalues: Float[Tensor, "q"], k_max: int = 12) -> int:
    """Number of clusters k in [2, k_max] with the widest gap between the k-th and the next eigenvalue (von Luxburg 2007, 8.3).

    Args:
        eigenvalues: Laplacian eigenvalues, ascending from the trivial one.
        k_max: Largest number considered.

    Raises:
        DataError: Fewer than three eigenvalues.
    """
    if eigenvalues.shape[0] < 3:
        raise DataError(f"{eigenvalues.shape[0]} eigenvalues, the eigengap needs at least 3", "give n_clusters")
    gaps = eigenvalues.diff()[1:k_max]
    return int(gaps.argmax()) + 2
