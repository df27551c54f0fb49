"""From eigenvectors to clusters.

Axis letters: n nodes, k clusters.
"""

from typing import Any

import scipy.linalg
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_registry.errors import DataError

__all__ = ["by_volume", "k_way_labels"]

MAX_ITERATIONS = 100


def k_way_labels(vectors: Float[Tensor, "n k"], degrees: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Clusters 0 .. k - 1 from the first k eigenvectors, numbered by falling volume (sum of degrees); on the CPU.

    Rows are brought to unit length, k of them are picked by column-pivoted QR (Damle, Minden & Ying 2019), the rotation that
    brings the rows nearest to indicators is improved in turns (Yu & Shi 2003), and Lloyd's steps finish. Nothing is random: a
    permutation of the nodes permutes the labels.

    Args:
        vectors: Eigenvectors, the trivial one included.
        degrees: Row sums of the affinity, for the numbering.

    Raises:
        DataError: Fewer nodes than clusters.
    """
    n, k = vectors.shape
    if n < k:
        raise DataError(f"{k} clusters of {n} nodes: give at most as many clusters as nodes")
    rows = vectors.detach().cpu().double()
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return by_volume(_lloyd(rows, _rotated_labels(rows)), degrees.detach().cpu(), k)


def by_volume(labels: Int[Tensor, "n"], degrees: Float[Tensor, "n"], k: int) -> Int[Tensor, "n"]:
    """The same clusters, numbered so that their sums of degrees fall."""
    volume = torch.bincount(labels, weights=degrees.double(), minlength=k)
    new_name = torch.empty(k, dtype=torch.long)
    new_name[volume.argsort(descending=True, stable=True)] = torch.arange(k)
    return new_name[labels]


def _rotated_labels(rows: Float[Tensor, "n k"]) -> Int[Tensor, "n"]:
    k = rows.shape[1]
    factors: Any = scipy.linalg.qr(rows.T.numpy(), mode="economic", pivoting=True)
    pivots = factors[2]
    rotation = _nearest_rotation(rows[torch.as_tensor(pivots[:k].astype("int64"))].T)
    labels = (rows @ rotation).argmax(dim=1)
    for _ in range(MAX_ITERATIONS):
        rotation = _nearest_rotation(rows.T @ torch.nn.functional.one_hot(labels, k).double())
        following = (rows @ rotation).argmax(dim=1)
        if torch.equal(following, labels):
            break
        labels = following
    return labels


def _nearest_rotation(matrix: Float[Tensor, "k k"]) -> Float[Tensor, "k k"]:
    left, _, right = torch.linalg.svd(matrix)
    return left @ right


def _lloyd(rows: Float[Tensor, "n k"], labels: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    k = rows.shape[1]
    centres = torch.zeros(k, k, dtype=rows.dtype)
    for _ in range(MAX_ITERATIONS):
        counts = torch.bincount(labels, minlength=k)
        sums = torch.zeros(k, k, dtype=rows.dtype).index_add_(0, labels, rows)
        filled = counts > 0
        centres[filled] = sums[filled] / counts[filled, None]
        distances = centres.square().sum(dim=1) - 2 * rows @ centres.T
        distances[:, ~filled] = torch.inf
        following = distances.argmin(dim=1)
        if torch.equal(following, labels):
            break
        labels = following
    return labels
