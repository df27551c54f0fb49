"""Metrics that are the cosine of two matrices of relations between samples.

Biased and unbiased CKA, distance correlation and RSA all map a layer to a symmetric matrix R [n, n] and score a pair by
<R_x, R_y> / (|R_x| |R_y|). Only the upper triangle and the diagonal are kept. All pairs of layers are one matrix product of
the flattened triangles, in blocks whose partial sums are added in float64; a permutation of the samples only re-indexes.

Axis letters: n samples, p = n(n-1)/2 pairs of samples, Lx and Ly layers, K permutations.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from interp_plugins.metrics.gram import full_precision, pack
from interp_plugins.metrics.layer_bank import LayerBank
from interp_registry.contracts.metric import MetricInfo, State

__all__ = ["RelationalMetric", "inner_products", "pack_relations", "permuted_inner_products", "triangle"]

_BLOCK = 1 << 14
_TABLE_ENTRIES = 1 << 27


class RelationalMetric(ABC):
    """Base of the metrics that are a cosine of relation matrices.

    State: ``upper [L, p]`` (row-major upper triangle), ``diagonal [L, n]``, ``squares`` (float64 ``[L]``, squared norms).
    """

    info: MetricInfo
    epsilon: float = 0.0

    @abstractmethod
    def relations(self, bank: LayerBank) -> Iterator[Float[Tensor, "n n"]]:
        """The symmetric matrix of each layer whose cosine is the score."""

    def unit(self, n: int) -> float:  # noqa: ARG002 - for those that override it
        """What inner products are divided by before ``epsilon`` is added; of no effect when that is 0."""
        return 1.0

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Relation matrices of every layer."""
        return pack_relations(self.relations(LayerBank.of(layers)))

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        return self.finish(self._ratio(inner_products(x, y), x, y))

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; norms do not change."""
        return self.finish(self._ratio(permuted_inner_products(x, y, permutations), x, y))

    def finish(self, cosines: Tensor) -> Tensor:
        """From cosines to scores."""
        return cosines

    def _ratio(self, products: Tensor, x: State, y: State) -> Tensor:
        unit = self.unit(x["diagonal"].shape[1])
        norms = (x["squares"][:, None] / unit * (y["squares"][None, :] / unit)).sqrt() + self.epsilon
        return torch.where(norms > 0, products / unit / norms, 0.0)


def triangle(n: int, device: torch.device | None = None) -> Int64[Tensor, " p"]:
    """Flat positions of the upper triangle (without diagonal) of an n x n matrix, row by row."""
    rows, columns = torch.triu_indices(n, n, 1, device=device)
    return rows * n + columns


def pack_relations(relations: Iterable[Float[Tensor, "n n"]]) -> State:
    """Upper triangles, diagonals and squared norms of symmetric matrices."""
    uppers, diagonals = [], []
    index: Tensor | None = None
    for matrix in relations:
        index = triangle(matrix.shape[0], matrix.device) if index is None else index
        uppers.append(pack(matrix, index))
        diagonals.append(matrix.diagonal().clone())
    upper, diagonal = torch.stack(uppers), torch.stack(diagonals)
    squares = torch.stack(
        [2 * u.double().square().sum() + d.double().square().sum() for u, d in zip(upper, diagonal, strict=True)]
    )
    return {"upper": upper, "diagonal": diagonal, "squares": squares}


def inner_products(x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
    """<R_x, R_y> of all pairs of packed symmetric matrices; partial sums are added in float64."""
    total = x["diagonal"].double() @ y["diagonal"].double().T
    with full_precision():
        for a, b in zip(x["upper"].split(_BLOCK, dim=1), y["upper"].split(_BLOCK, dim=1), strict=True):
            total += 2 * (a @ b.T)
    return total


def permuted_inner_products(x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
    """<R_x, P R_y P'> of all pairs for every permutation of y; the smaller side is the one that is re-indexed."""
    if x["upper"].shape[0] < y["upper"].shape[0]:
        return permuted_inner_products(y, x, permutations.argsort(dim=1)).transpose(1, 2)
    n = x["diagonal"].shape[1]
    at_once = max(1, _TABLE_ENTRIES // (n * n))
    parts = zip(y["upper"].split(at_once), y["diagonal"].split(at_once), strict=True)
    return torch.cat([_permuted_products(x, upper, diagonal, permutations) for upper, diagonal in parts], dim=2)


def _permuted_products(
    x: State, upper: Float[Tensor, "Ly p"], diagonal: Float[Tensor, "Ly n"], permutations: Int64[Tensor, "K n"]
) -> Float64[Tensor, "K Lx Ly"]:
    """Inner products of all pairs for every permutation of y; layers of y lie side by side so that one look-up serves all."""
    n = permutations.shape[1]
    rows, columns = torch.triu_indices(n, n, 1, device=upper.device)
    table = _side_by_side(upper, n)
    out = []
    for p in permutations:
        total = x["diagonal"].double() @ diagonal[:, p].double().T
        with full_precision():
            for a, i, j in zip(x["upper"].split(_BLOCK, dim=1), rows.split(_BLOCK), columns.split(_BLOCK), strict=True):
                total += 2 * (a @ table.index_select(0, torch.take(p, i) * n + torch.take(p, j)))
        out.append(total)
    return torch.stack(out)


def _side_by_side(upper: Float[Tensor, "Ly p"], n: int) -> Float[Tensor, "q Ly"]:
    """Symmetric matrices from their triangles, entry (i, j) of all layers in row i * n + j (the diagonal stays 0)."""
    whole = upper.new_zeros(upper.shape[0], n * n)
    whole[:, triangle(n, upper.device)] = upper
    square = whole.view(-1, n, n)
    return (square + square.transpose(1, 2)).view(upper.shape[0], -1).T.contiguous()
