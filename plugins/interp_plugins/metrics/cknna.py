"""Centred kernel nearest-neighbour alignment, from neighbour lists and their inner products alone.

Both Grams are masked by M, the pairs (i, j) with j among the k nearest neighbours of i in x and in y. All that the HSIC
estimator needs of the masked Grams is a sum over those pairs, row sums and column sums, so no n x n matrix is formed and
memory grows with n k.

Axis letters: n samples, k neighbours, Lx and Ly layers, K permutations; h pairs (i, j) that lie in both lists ("hits").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from interp_plugins.metrics.cka import PLATONIC_EPSILON
from interp_plugins.metrics.config import CknnaConfig
from interp_plugins.metrics.gram import require_enough
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.neighbours import ListIndex, permuted_lists
from interp_registry.contracts.metric import State

__all__ = ["Cknna"]


class Cknna:
    """Kernel alignment over common nearest neighbours, 1 for a layer with itself (Huh et al. 2024, appendix A).

    score = a(x, y) / sqrt(a(x, x) a(y, y)), a the unbiased HSIC estimator (or the trace, when biased) of the raw linear Grams
    masked by M. M is not symmetric, so neither is the score, slightly. Invariant to rotation and isotropic scaling.

    State: ``indices`` and ``values`` ``[L, n, k]``, ``mutual`` (uint8: whether i is a neighbour of its neighbour), ``self``
    (float64 ``[L]``, a(x, x)).
    """

    def __init__(self, config: CknnaConfig) -> None:
        self.topk, self.biased = config.topk, config.biased
        self.epsilon = PLATONIC_EPSILON if config.compat == "platonic" else 0.0
        self.info = config.describe()

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Neighbour lists with their inner products.

        Raises:
            DataError: topk is not below the number of samples, or there are fewer than four samples.
        """
        bank = LayerBank.of(layers)
        if not self.biased:
            require_enough(bank.n, "more samples, or biased=True")
        indices, values = bank.neighbours(self.topk, include_self=self.biased)
        mutual = torch.stack([_is_mutual(layer) for layer in indices])
        state = {"indices": indices, "values": values, "mutual": mutual}
        single = [{name: t[i : i + 1] for name, t in state.items()} for i in range(len(bank))]
        own = [self._products(layer, layer, ListIndex(layer["indices"], mark_slots=True)) for layer in single]
        return {**state, "self": torch.cat(own)}

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        return self._scores(x, y, ListIndex(y["indices"], mark_slots=True))

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; lists are re-indexed (those of x, inversely)."""
        index = ListIndex(y["indices"], mark_slots=True)
        return torch.stack([self._scores(_permuted(x, p.argsort()), y, index) for p in permutations])

    def _scores(self, x: State, y: State, index: ListIndex) -> Tensor:
        layers = [{name: t[i : i + 1] for name, t in x.items()} for i in range(x["indices"].shape[0])]
        products = torch.stack([self._products(layer, y, index) for layer in layers])
        norms = (x["self"][:, None] * y["self"][None, :]).clamp(min=0).sqrt() + self.epsilon
        return torch.where(norms > 0, products / norms, 0.0)

    def _products(self, x: State, y: State, index: ListIndex) -> Float64[Tensor, " Ly"]:
        """a(x, y) for one layer of x and all layers of y."""
        hits = _find_hits(x, y, index)
        return hits.trace_estimate() if self.biased else hits.unbiased_estimate()


@dataclass
class _Hits:
    """Pairs (i, j) that are neighbours in one layer of x and in layer b of y, with both inner products."""

    n: int
    n_layers: int
    layer: Int64[Tensor, " h"]
    i: Int64[Tensor, " h"]
    j: Int64[Tensor, " h"]
    x: Float64[Tensor, " h"]
    y: Float64[Tensor, " h"]
    mutual: Tensor

    def _per_layer(self, values: Tensor) -> Tensor:
        return values.new_zeros(self.n_layers).index_add_(0, self.layer, values)

    def _per_sample(self, sample: Tensor, values: Tensor) -> Tensor:
        sums = values.new_zeros(self.n_layers * self.n).index_add_(0, self.layer * self.n + sample, values)
        return sums.view(self.n_layers, self.n)

    def _terms(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """tr(K L) (pairs masked both ways only), sum K, sum L, and the products of K's column sums with L's row sums."""
        both_ways = self._per_layer(self.x * self.y * self.mutual)
        columns_x, rows_y = self._per_sample(self.j, self.x), self._per_sample(self.i, self.y)
        return both_ways, self._per_layer(self.x), self._per_layer(self.y), (columns_x * rows_y).sum(dim=1)

    def unbiased_estimate(self) -> Float64[Tensor, " Ly"]:
        """[tr(K L) + sum K sum L / ((n-1)(n-2)) - 2/(n-2) 1'K L 1] / (n(n-3)), Song et al. 2012, eq. 4."""
        n = self.n
        trace, total_x, total_y, chain = self._terms()
        return (trace + total_x * total_y / ((n - 1) * (n - 2)) - 2 * chain / (n - 2)) / (n * (n - 3))

    def trace_estimate(self) -> Float64[Tensor, " Ly"]:
        """tr(K H L H) = tr(K L) - (1'K L 1 + 1'L K 1)/n + sum K sum L / n^2."""
        trace, total_x, total_y, chain = self._terms()
        rows_x, columns_y = self._per_sample(self.i, self.x), self._per_sample(self.j, self.y)
        return trace - (chain + (rows_x * columns_y).sum(dim=1)) / self.n + total_x * total_y / self.n**2


def _find_hits(x: State, y: State, index: ListIndex) -> _Hits:
    """Hits of the one layer in ``x`` with every layer of ``y``."""
    found = index.slots(x["indices"])[0]
    i, s, layer = found.nonzero(as_tuple=True)
    t = found[i, s, layer].long() - 1
    return _Hits(
        n=found.shape[0],
        n_layers=found.shape[2],
        layer=layer,
        i=i,
        j=x["indices"][0, i, s].long(),
        x=x["values"][0, i, s].double(),
        y=y["values"][layer, i, t].double(),
        mutual=(x["mutual"][0, i, s] & y["mutual"][layer, i, t]).double(),
    )


def _is_mutual(indices: Tensor) -> Tensor:
    """Whether sample i is in the list of its own neighbour, for every entry of a table ``[n, k]``."""
    sample = torch.arange(indices.shape[0], device=indices.device, dtype=indices.dtype)[:, None]
    columns = [(indices[indices[:, s].long()] == sample).any(dim=1) for s in range(indices.shape[1])]
    return torch.stack(columns, dim=1).to(torch.uint8)


def _permuted(state: State, permutation: Int64[Tensor, " n"]) -> State:
    moved = {name: state[name].index_select(1, permutation) for name in ("values", "mutual")}
    return {**moved, "indices": permuted_lists(state["indices"], permutation), "self": state["self"]}
