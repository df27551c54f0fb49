"""Normalised cut of a bipartite graph, e.g. of image patches and words.

Axis letters: h rows (patches), w columns (words), q singular values, k clusters.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.cuts.discretise import k_way_labels
from interp_plugins.methods.cuts.spectrum import eigengap_clusters, fixed_signs
from interp_registry.errors import DataError

__all__ = ["BipartiteCut", "bipartite", "normalised_cut_value"]

FULL_SVD_WORK = 4e9
N_LEADING = 32


@dataclass(frozen=True)
class BipartiteCut:
    """The normalised cut of the graph [[0, A], [A', 0]].

    Attributes:
        sigma: Singular values of Dr^-1/2 A Dc^-1/2, descending from 1; all of them, or the leading ones of a large matrix.
        laplacian_eigenvalues: Smallest Laplacian eigenvalues, ascending: 1 - sigma, then (when sigma is complete) 1 once for each
            row or column too many, then 1 + sigma.
        row_vectors: Left singular vectors with fixed signs; the first is trivial.
        column_vectors: Right singular vectors, signs as on the left.
        row_labels: Cluster of each row, 0 .. k - 1, numbered by falling volume.
        column_labels: Cluster of each column.
        n_clusters: The number k of clusters.
        cut_value: Normalised cut of the clusters, the sum of cut / volume, in [0, k].
    """

    sigma: Float[Tensor, "q"]
    laplacian_eigenvalues: Float[Tensor, "e"]
    row_vectors: Float[Tensor, "h q"]
    column_vectors: Float[Tensor, "w q"]
    row_labels: Int[Tensor, "h"]
    column_labels: Int[Tensor, "w"]
    n_clusters: int
    cut_value: float

    @property
    def labels(self) -> Int[Tensor, "h+w"]:
        """Clusters of the rows, then of the columns."""
        return torch.cat([self.row_labels, self.column_labels])


def bipartite(
    affinity: Float[Tensor, "h w"], n_clusters: int | None = None, *, k_max: int = 12, n_leading: int = N_LEADING
) -> BipartiteCut:
    """Co-cluster the rows and columns of a non-negative affinity (Dhillon 2001; Zha et al. 2001).

    The eigenvectors of the graph's normalised Laplacian are those of the singular value decomposition of Dr^-1/2 A Dc^-1/2, its
    eigenvalues 1 - sigma. Invariant to a common positive factor; permuting rows or columns permutes the labels.

    Args:
        affinity: Non-negative, with no row or column of zeros.
        n_clusters: Number k of clusters; default: by the widest eigengap up to ``k_max``.
        k_max: Largest number of clusters considered.
        n_leading: Number of singular values kept of a matrix too large for the complete decomposition.

    Raises:
        DataError: Not a matrix, not finite, negative, empty rows or columns, or more clusters than the smaller side.
    """
    matrix = _checked(affinity)
    row_degrees, column_degrees = matrix.sum(dim=1), matrix.sum(dim=0)
    scaled = matrix / row_degrees.sqrt()[:, None] / column_degrees.sqrt()[None, :]
    left, sigma, right = _decompose(scaled, n_leading)
    joint = fixed_signs(torch.cat([left, right]) / 2**0.5)
    k = eigengap_clusters(1 - sigma, k_max) if n_clusters is None else n_clusters
    if not 1 <= k <= sigma.shape[0]:
        raise DataError(f"{k} clusters: expected 1 to {sigma.shape[0]}, the smaller side or the vectors computed")
    degrees = torch.cat([row_degrees, column_degrees])
    labels = k_way_labels(joint[:, :k], degrees)
    h = matrix.shape[0]
    return BipartiteCut(
        sigma=sigma,
        laplacian_eigenvalues=_laplacian(sigma, matrix.shape),
        row_vectors=joint[:h] * 2**0.5,
        column_vectors=joint[h:] * 2**0.5,
        row_labels=labels[:h],
        column_labels=labels[h:],
        n_clusters=k,
        cut_value=normalised_cut_value(matrix, labels[:h], labels[h:], k),
    )


def normalised_cut_value(
    affinity: Float[Tensor, "h w"], row_labels: Int[Tensor, "h"], column_labels: Int[Tensor, "w"], k: int
) -> float:
    """Sum over clusters of cut / volume in the bipartite graph, in [0, k]; empty clusters count 0 (Shi & Malik 2000)."""
    rows = torch.nn.functional.one_hot(row_labels, k).to(affinity.dtype)
    columns = torch.nn.functional.one_hot(column_labels, k).to(affinity.dtype)
    between = rows.T @ affinity @ columns
    volume = between.sum(dim=1) + between.sum(dim=0)
    inside = 2 * between.diagonal()
    return ((volume - inside) / volume)[volume > 0].sum().item()


def _checked(affinity: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    matrix = torch.as_tensor(affinity).detach().cpu().double()
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise DataError(f"the affinity has shape {list(matrix.shape)}, expected rows and columns")
    if not torch.isfinite(matrix).all():
        raise DataError("the affinity holds values that are not finite")
    if matrix.min() < 0:
        raise DataError(
            f"the affinity holds {matrix.min().item():.4g}, expected no negative value", "map similarities first"
        )
    for axis, name in ((1, "row"), (0, "column")):
        empty = (matrix.sum(dim=axis) <= 0).nonzero()
        if len(empty):
            raise DataError(f"{name} {int(empty[0])} of the affinity is all zero ({len(empty)} such)", "leave it out")
    return matrix


def _decompose(scaled: Float[Tensor, "h w"], n_leading: int) -> tuple[Tensor, Tensor, Tensor]:
    smaller = min(scaled.shape)
    if scaled.numel() * smaller <= FULL_SVD_WORK or smaller <= n_leading + 1:
        left, sigma, right = torch.linalg.svd(scaled, full_matrices=False)
        return left, sigma, right.T
    start = np.random.default_rng(0).standard_normal(smaller)
    found: Any = scipy.sparse.linalg.svds(scaled.numpy(), k=n_leading, v0=start, solver="arpack")
    left, sigma, right = (torch.from_numpy(np.ascontiguousarray(part)) for part in found)
    order = sigma.argsort(descending=True, stable=True)
    return left[:, order].contiguous(), sigma[order], right[order].T.contiguous()


def _laplacian(sigma: Float[Tensor, "q"], shape: torch.Size) -> Float[Tensor, "e"]:
    if sigma.shape[0] < min(shape):
        return 1 - sigma
    middle = torch.ones(abs(shape[0] - shape[1]), dtype=sigma.dtype)
    return torch.cat([1 - sigma, middle, (1 + sigma).flip(0)])
