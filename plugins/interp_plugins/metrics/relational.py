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

__all__ = ["RelationalMetric", "pack_relations", "triangle"]

_BLOCK = 1 << 15
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
        products = 2 * _products(x["upper"], y["upper"]) + x["diagonal"].double() @ y["diagonal"].double().T
        return self._ratio(products, x, y)

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; norms do not change."""
        if x["upper"].shape[0] < y["upper"].shape[0]:
            return self.null_pairs(y, x, permutations.argsort(dim=1)).transpose(1, 2)
        n = x["diagonal"].shape[1]
        at_once = max(1, _TABLE_ENTRIES // (n * n))
        parts = zip(y["upper"].split(at_once), y["diagonal"].split(at_once), strict=True)
        products = [_permuted_products(x, upper, diagonal, permutations) for upper, diagonal in parts]
        return self._ratio(torch.cat(products, dim=2), x, y)

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


def _products(x: Float[Tensor, "Lx p"], y: Float[Tensor, "Ly p"]) -> Float64[Tensor, "Lx Ly"]:
    total = torch.zeros(x.shape[0], y.shape[0], dtype=torch.float64, device=x.device)
    with full_precision():
        for a, b in zip(x.split(_BLOCK, dim=1), y.split(_BLOCK, dim=1), strict=True):
            total += a @ b.T
    return total


def _permuted_products(
    x: State, upper: Float[Tensor, "Ly p"], diagonal: Float[Tensor, "Ly n"], permutations: Int64[Tensor, "K n"]
) -> Float64[Tensor, "K Lx Ly"]:
    """Inner products of all pairs for every permutation of y; layers of y lie side by side so that one look-up serves all."""
    n = permutations.shape[1]
    rows, columns = torch.triu_indices(n, n, 1, device=upper.device)
    table = upper.new_empty(n * n, upper.shape[0])
    table[rows * n + columns] = upper.T
    table[columns * n + rows] = upper.T
    out = []
    for p in permutations:
        total = x["diagonal"].double() @ diagonal[:, p].double().T
        with full_precision():
            for a, i, j in zip(x["upper"].split(_BLOCK, dim=1), rows.split(_BLOCK), columns.split(_BLOCK), strict=True):
                total += 2 * (a @ table.index_select(0, p[i] * n + p[j]))
        out.append(total)
    return torch.stack(out)
