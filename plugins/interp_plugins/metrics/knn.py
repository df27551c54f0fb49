"""Neighbour-overlap metrics: mutual and cycle k-nearest neighbours.

Axis letters: n samples, k neighbours, Lx and Ly layers, K permutations.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int, Int64
from torch import Tensor

from interp_plugins.metrics.config import CycleKnnConfig, MutualKnnConfig, NeighbourConfig
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.leave_one_out import mutual_knn_without_each
from interp_plugins.metrics.neighbours import ListIndex, permuted_lists
from interp_registry.contracts.metric import MetricInfo, State

__all__ = ["CycleKnn", "MutualKnn", "NeighbourMetric"]


class NeighbourMetric:
    """Base of the metrics that look at nothing but ordered neighbour lists.

    The state is one int32 table ``indices [L, n, k]``.
    """

    def __init__(self, config: NeighbourConfig) -> None:
        self.topk = config.topk
        self.info: MetricInfo = config.describe()

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Neighbour lists of every layer.

        Raises:
            DataError: topk is not below the number of samples.
        """
        return {"indices": LayerBank.of(layers).neighbours(self.topk)[0]}

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        return self.score_lists(x["indices"], self.index(y["indices"]))

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; only lists are re-indexed (those of x, inversely)."""
        index, lists = self.index(y["indices"]), x["indices"]
        return torch.stack([self.score_lists(permuted_lists(lists, p.argsort()), index) for p in permutations])

    def index(self, lists: Int[Tensor, "Ly n k"]) -> ListIndex:
        """The lists of y, made ready for `score_lists`."""
        return ListIndex(lists)

    def score_lists(self, x: Int[Tensor, "Lx n k"], y: ListIndex) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs from ordered neighbour lists."""
        raise NotImplementedError


class MutualKnn(NeighbourMetric):
    """Mean share of common neighbours, in [0, 1]; k/(n-1) in the mean when the models are independent.

    score = (1/n) sum_i |N_x(i) & N_y(i)| / k (Huh et al. 2024, appendix A).
    """

    def __init__(self, config: MutualKnnConfig) -> None:
        super().__init__(config)

    def score_lists(self, x: Int[Tensor, "Lx n k"], y: ListIndex) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs from neighbour lists."""
        n, k = x.shape[1:]
        return y.counts(x).sum(dim=1, dtype=torch.int64).double() / (n * k)

    def leave_one_out(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> Float64[Tensor, "n Lx Ly"]:
        """Scores of all pairs of layers with each sample left out in turn."""
        return mutual_knn_without_each(LayerBank.of(x), LayerBank.of(y), self.topk)


class CycleKnn(NeighbourMetric):
    """Share of samples that come back: i has a neighbour j in y whose neighbours in x include i; in [0, 1].

    score = (1/n) sum_i [exists j in N_y(i): i in N_x(j)]. Not symmetric, and below 1 for a layer with itself. About
    1 - (1 - k/(n-1))^k in the mean when the models are independent.
    """

    def __init__(self, config: CycleKnnConfig) -> None:
        super().__init__(config)

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        return self.score_lists(y["indices"], self.index(x["indices"])).T

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; only lists are re-indexed."""
        index, lists = self.index(x["indices"]), y["indices"]
        return torch.stack([self.score_lists(permuted_lists(lists, p), index).T for p in permutations])

    def score_lists(self, x: Int[Tensor, "Lx n k"], y: ListIndex) -> Float64[Tensor, "Lx Ly"]:
        """Share of samples with a neighbour in the lists whose own neighbours, in the index, include them."""
        return (y.returns(x) > 0).sum(dim=1, dtype=torch.int64).double() / x.shape[1]
