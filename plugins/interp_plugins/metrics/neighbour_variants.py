"""Further metrics of neighbour lists: Jaccard overlap, rank similarity, second-order cosine similarity.

Axis letters: n samples, k neighbours, Lx and Ly layers, K permutations.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from interp_plugins.metrics.config_variants import JaccardKnnConfig, RankSimilarityConfig, SecondOrderCosineConfig
from interp_plugins.metrics.gram import gram
from interp_plugins.metrics.knn import NeighbourMetric
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.neighbours import ListIndex, permuted_lists
from interp_registry.contracts.metric import State

__all__ = ["JaccardKnn", "RankSimilarity", "SecondOrderCosine"]

_LISTS_AT_ONCE = 1 << 21
_ONE_TABLE = 4096


class JaccardKnn(NeighbourMetric):
    """Mean Jaccard index of neighbour sets, |A & B| / |A | B|, in [0, 1] (Schumacher et al. 2021; Klabunde et al. 2023, 3.3.1)."""

    def __init__(self, config: JaccardKnnConfig) -> None:
        super().__init__(config)

    def score_lists(self, x: Int[Tensor, "Lx n k"], y: ListIndex) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs from neighbour lists."""
        common = y.counts(x).double()
        return (common / (2 * x.shape[2] - common)).mean(dim=1)


class RankSimilarity(NeighbourMetric):
    """Agreement of the ranks of common neighbours, in [0, 1] (Wang et al. 2020; Klabunde et al. 2023, eq. 31).

    Per sample, over common neighbours j with ranks r and s (from 1): sum_j 2 / ((1 + |r - s|)(r + s)), divided by its largest
    value for as many neighbours, sum_{m <= |J|} 1/m; 0 where there are none.
    """

    def __init__(self, config: RankSimilarityConfig) -> None:
        super().__init__(config)

    def index(self, lists: Int[Tensor, "Ly n k"]) -> ListIndex:
        """The lists of y with positions."""
        return ListIndex(lists, mark_slots=True)

    def score_lists(self, x: Int[Tensor, "Lx n k"], y: ListIndex) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs from ordered neighbour lists."""
        n, k = x.shape[1:]
        own = torch.arange(1, k + 1, device=x.device)
        other = torch.arange(k + 1, device=x.device)
        weights = 2 / ((1 + (own[:, None] - other).abs()) * (own[:, None] + other)).double()
        weights[:, 0] = 0  # not a common neighbour
        largest = torch.cat([torch.ones(1, device=x.device).double(), (1 / own.double()).cumsum(0)])
        rows = []
        for some in x.split(max(1, _LISTS_AT_ONCE // (n * k * y.n_layers))):
            found = y.slots(some).long()
            sums = weights[own[:, None] - 1, found].sum(dim=2)
            rows.append((sums / largest[(found > 0).sum(dim=2)]).mean(dim=1))
        return torch.cat(rows)


class SecondOrderCosine:
    """Mean cosine between a sample's similarities to its neighbours in both models, in [-1, 1] (Hamilton et al. 2016).

    For sample i, over the union of its neighbours in x and in y: the cosine of its cosine similarities to them in x and in y.

    State: ``indices [L, n, k]`` and ``rows.0`` ... (unit rows ``[n, d]``); pairs of similarities are looked up in one table per layer
    up to n = 4,096 and computed as they are needed beyond.
    """

    def __init__(self, config: SecondOrderCosineConfig) -> None:
        self.topk = config.topk
        self.info = config.describe()

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Neighbour lists by cosine similarity, and unit rows.

        Raises:
            DataError: topk is not below the number of samples.
        """
        rows = [torch.nn.functional.normalize(layer, dim=1) for layer in layers]
        indices = LayerBank(rows).neighbours(self.topk)[0]
        return {"indices": indices, **{f"rows.{index}": layer for index, layer in enumerate(rows)}}

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        n = x["indices"].shape[1]
        return self._scores(_Similarities(x), _Similarities(y), torch.arange(n, device=x["indices"].device))

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; similarities are re-indexed."""
        left, right = _Similarities(x), _Similarities(y)
        return torch.stack([self._scores(left, right, p) for p in permutations])

    def _scores(self, x: "_Similarities", y: "_Similarities", permutation: Tensor) -> Tensor:
        moved = permuted_lists(y.indices, permutation)
        rows = [
            torch.stack([_mean_cosine(x, i, y, j, moved[j], permutation) for j in range(len(y))]) for i in range(len(x))
        ]
        return torch.stack(rows)


class _Similarities:
    """Cosine similarities of a model's samples, by look-up where a table fits."""

    def __init__(self, state: State) -> None:
        self.indices = state["indices"]
        self._rows = [state[f"rows.{index}"] for index in range(len(self))]
        small = self.indices.shape[1] <= _ONE_TABLE
        self._tables = [gram(rows) for rows in self._rows] if small else None

    def __len__(self) -> int:
        return self.indices.shape[0]

    def at(self, layer: int, i: Int64[Tensor, " n"], j: Int64[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Similarity of sample i to each of its k partners j."""
        if self._tables is not None:
            return torch.take(self._tables[layer], i[:, None] * len(i) + j)
        rows = self._rows[layer]
        return torch.stack([(rows[i] * rows[column]).sum(dim=1) for column in j.T], dim=1)


def _mean_cosine(
    x: _Similarities, i: int, y: _Similarities, j: int, moved: Int64[Tensor, "n k"], permutation: Int64[Tensor, " n"]
) -> Float64[Tensor, ""]:
    """Score of layer i of x and layer j of y, whose samples are permuted and whose lists are given as ``moved``."""
    own = x.indices[i].long()
    sample = torch.arange(len(own), device=own.device)
    partners = torch.cat([own, moved], dim=1)
    twice = torch.zeros_like(partners, dtype=torch.bool)
    twice[:, own.shape[1] :] = (moved[:, :, None] == own[:, None, :]).any(dim=2)
    a = x.at(i, sample, partners).double().masked_fill(twice, 0)
    b = y.at(j, permutation, torch.take(permutation, partners)).double().masked_fill(twice, 0)
    norms = (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    return torch.where(norms > 0, (a * b).sum(dim=1) / norms, 0.0).mean()
