"""Graphs whose affinity is computed in blocks, so that large ones never exist as a whole.

Axis letters: n nodes, d features, a and b some of the nodes, q vectors.
"""

from collections.abc import Iterator
from typing import Literal, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_registry.errors import DataError

__all__ = [
    "Affinity",
    "FeatureGraph",
    "KeptBlocks",
    "MatrixGraph",
    "NodeGraph",
    "median_distance",
    "multiply",
    "to_affinity",
]

Affinity = Literal["rbf", "cosine", "relu", "exp"]
BLOCK = 512
N_SAMPLED = 1024


class NodeGraph(Protocol):
    """A weighted undirected graph that can be read in blocks."""

    @property
    def n(self) -> int:
        """Number of nodes."""
        ...

    def block(self, first: Int[Tensor, "a"] | slice, second: Int[Tensor, "b"] | slice) -> Float[Tensor, "a b"]:
        """Affinities between some nodes and others."""
        ...


def to_affinity(
    similarity: Float[Tensor, "*shape"], kind: Affinity, temperature: float = 0.1
) -> Float[Tensor, "*shape"]:
    """Non-negative affinities of cosines: (1 + s) / 2 (`cosine`), max(s, 0) + 1e-6 (`relu`), exp((s - 1) / t) (`exp`).

    Raises:
        DataError: ``kind`` has no such form, or the temperature is not positive.
    """
    if kind == "cosine":
        return (1 + similarity).clamp_min(0) / 2
    if kind == "relu":
        return similarity.clamp_min(0) + 1e-6
    if kind == "exp":
        if not temperature > 0:
            raise DataError(f"temperature is {temperature}, expected a positive number")
        return ((similarity - 1) / temperature).exp()
    raise DataError(f"{kind!r} is no affinity of cosines", "use cosine, relu or exp")


def median_distance(features: Float[Tensor, "n d"], seed: int = 0) -> float:
    """Median distance between different nodes; above 1024 nodes, between that many drawn with ``seed``.

    Raises:
        DataError: More than half of the distances are zero.
    """
    if len(features) > N_SAMPLED:
        generator = torch.Generator().manual_seed(seed)
        features = features[torch.randperm(len(features), generator=generator)[:N_SAMPLED]]
    width = torch.pdist(features.double()).median().item()
    if not width > 0:
        raise DataError("more than half of the nodes coincide, so their median distance is 0", "give sigma")
    return width


class FeatureGraph:
    """Nodes with features; the affinity is Gaussian in their distance or a function of their cosine, self loops kept.

    Args:
        features: One row per node.
        kind: "rbf": exp(-d^2 / 2 sigma^2); else see `to_affinity`.
        sigma: Width of the Gaussian; default: the median distance.
        temperature: Temperature of "exp".
        dtype: Type that the affinities are computed in.

    Raises:
        DataError: Not a matrix with at least two rows, not finite, or ``sigma`` is not positive.
    """

    def __init__(
        self,
        features: Float[Tensor, "n d"],
        kind: Affinity = "rbf",
        *,
        sigma: float | None = None,
        temperature: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if features.ndim != 2 or len(features) < 2 or not torch.isfinite(features).all():
            raise DataError(f"got features {list(features.shape)}, expected at least two rows of finite numbers")
        features = features.detach().cpu().to(dtype)
        self.kind: Affinity = kind
        self.temperature = temperature
        self.sigma = (median_distance(features) if sigma is None else sigma) if kind == "rbf" else None
        if self.sigma is not None and not self.sigma > 0:
            raise DataError(f"sigma is {self.sigma}, expected a positive width")
        if self.sigma is not None:
            self.features = (features - features.mean(dim=0)) / (2**0.5 * self.sigma)
            self._left, self._right = _squared_distance_factors(self.features)
        else:
            self.features = features / features.norm(dim=1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
            self._left = self._right = self.features

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.features)

    def block(self, first: Int[Tensor, "a"] | slice, second: Int[Tensor, "b"] | slice) -> Float[Tensor, "a b"]:
        """Affinities between some nodes and others."""
        inner = self._left[first] @ self._right[second].T
        if self.kind != "rbf":
            return to_affinity(inner, self.kind, self.temperature)
        return inner.clamp_max_(0).exp_()


def _squared_distance_factors(x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d+2"], Float[Tensor, "n d+2"]]:
    """Two matrices with left_i . right_j = -|x_i - x_j|^2, so that one product gives all exponents."""
    squares, ones = x.square().sum(dim=1, keepdim=True), torch.ones(len(x), 1, dtype=x.dtype)
    return torch.cat([2**0.5 * x, -squares, ones], dim=1), torch.cat([2**0.5 * x, ones, -squares], dim=1)


class MatrixGraph:
    """A graph whose affinity is given as a matrix.

    Raises:
        DataError: Not square, not symmetric, negative, not finite, or a node without any edge.
    """

    def __init__(self, affinity: Float[Tensor, "n n"]) -> None:
        matrix = affinity.detach().cpu().double()
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
            raise DataError(f"the affinity has shape {list(matrix.shape)}, expected n x n with at least 2 nodes")
        if not torch.isfinite(matrix).all() or matrix.min() < 0:
            raise DataError("the affinity holds negative or not finite values", "map similarities first")
        if not torch.allclose(matrix, matrix.T, rtol=1e-5, atol=1e-8):
            raise DataError(
                "the affinity is not symmetric", "for rows and columns of different kinds use the bipartite cut"
            )
        if (matrix.sum(dim=1) <= 0).any():
            raise DataError(f"node {int((matrix.sum(dim=1) <= 0).nonzero()[0])} has no edge", "leave it out")
        self.matrix = (matrix + matrix.T) / 2

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.matrix)

    def block(self, first: Int[Tensor, "a"] | slice, second: Int[Tensor, "b"] | slice) -> Float[Tensor, "a b"]:
        """Affinities between some nodes and others."""
        return self.matrix[first][:, second]


class KeptBlocks:
    """Another graph's blocks on and above the diagonal, computed once and kept."""

    def __init__(self, graph: NodeGraph) -> None:
        self.n = graph.n
        self._blocks = {(a.start, b.start): graph.block(a, b) for a, b in block_pairs(graph.n)}

    def block(self, first: slice, second: slice) -> Float[Tensor, "a b"]:
        """One of the blocks that `block_pairs` names."""
        return self._blocks[first.start, second.start]


def block_pairs(n: int) -> Iterator[tuple[slice, slice]]:
    """The blocks on and above the diagonal of an n x n matrix."""
    starts = range(0, n, BLOCK)
    for first in starts:
        for second in range(first, n, BLOCK):
            yield slice(first, min(first + BLOCK, n)), slice(second, min(second + BLOCK, n))


def multiply(graph: NodeGraph, vectors: Float[Tensor, "n q"]) -> Float[Tensor, "n q"]:
    """Affinity times vectors, each block computed once and used on both sides of the diagonal."""
    result = torch.zeros(vectors.shape, dtype=torch.float64)
    for first, second in block_pairs(graph.n):
        affinity = graph.block(first, second)
        part = vectors.to(affinity.dtype)
        result[first] += affinity @ part[second]
        if first != second:
            result[second] += affinity.T @ part[first]
    return result
