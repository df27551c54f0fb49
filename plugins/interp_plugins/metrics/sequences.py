"""Metrics that compare ordered neighbour lists: longest common subsequence and edit distance.

Both recurrences run on bit vectors: one integer holds a column of the dynamic programme of one sample, so a pair of lists
of length k takes k steps of a few integer operations, for all samples and all pairs of layers at once.

Axis letters: n samples, k neighbours, Lx and Ly layers; s batch of list pairs.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from interp_plugins.metrics.config import EditDistanceKnnConfig, LcsKnnConfig
from interp_plugins.metrics.knn import NeighbourMetric
from interp_plugins.metrics.neighbours import ListIndex

__all__ = ["EditDistanceKnn", "LcsKnn", "edit_distance", "longest_common_subsequence"]

_WORDS = ((14, torch.int16), (30, torch.int32), (62, torch.int64))
_LISTS_AT_ONCE = 1 << 21


class LcsKnn(NeighbourMetric):
    """Mean length of the longest common subsequence of two neighbour lists, in [0, k] (not divided by k).

    Both lists are in descending order of similarity (Huh et al. 2024, published implementation).
    """

    def __init__(self, config: LcsKnnConfig) -> None:
        super().__init__(config)

    def index(self, lists: Int[Tensor, "Ly n k"]) -> ListIndex:
        """The lists of y with positions."""
        return ListIndex(lists, mark_slots=True)

    def score_lists(self, x: Int[Tensor, "Lx n k"], y: ListIndex) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs from ordered neighbour lists."""
        return _mean_over_samples(longest_common_subsequence, x, y)


class EditDistanceKnn(NeighbourMetric):
    """One minus the mean Levenshtein distance of two neighbour lists divided by k, in [0, 1].

    Insertion, deletion and substitution cost 1 each (Huh et al. 2024, published implementation).
    """

    def __init__(self, config: EditDistanceKnnConfig) -> None:
        super().__init__(config)

    def index(self, lists: Int[Tensor, "Ly n k"]) -> ListIndex:
        """The lists of y with positions."""
        return ListIndex(lists, mark_slots=True)

    def score_lists(self, x: Int[Tensor, "Lx n k"], y: ListIndex) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs from ordered neighbour lists."""
        return 1 - _mean_over_samples(edit_distance, x, y) / x.shape[2]


def longest_common_subsequence(positions: Int[Tensor, "s k"]) -> Int[Tensor, " s"]:
    """Length of the longest common subsequence of two lists of k distinct items, in [0, k].

    Args:
        positions: For item t of the first list, 1 + its position in the second list, or 0.

    Bit-parallel (Hyyrö 2004): V <- (V + (V & M)) | (V & ~M); each zero bit of V is one step of the subsequence.
    """
    k = positions.shape[1]
    if k > _WORDS[-1][0]:
        return _lcs_by_rows(positions)
    matches = _match_bits(positions)
    v = torch.full_like(matches[:, 0], -1)
    for t in range(k):
        common = v & matches[:, t]
        v = (v + common) | (v & ~matches[:, t])
    return sum(((~v >> bit) & 1 for bit in range(k)), torch.zeros_like(v)).long()


def edit_distance(positions: Int[Tensor, "s k"]) -> Int[Tensor, " s"]:
    """Levenshtein distance of two lists of k distinct items, in [0, k].

    Args:
        positions: For item t of the first list, 1 + its position in the second list, or 0.

    Bit-parallel (Myers 1999, in the form of Hyyrö 2003): vertical differences +1 and -1 are kept as bit vectors.
    """
    k = positions.shape[1]
    if k > _WORDS[-1][0]:
        return _edit_by_rows(positions)
    matches = _match_bits(positions)
    plus, minus = torch.full_like(matches[:, 0], -1), torch.zeros_like(matches[:, 0])
    distance = torch.full_like(matches[:, 0], k)
    for t in range(k):
        match = matches[:, t]
        diagonal = (((match & plus) + plus) ^ plus) | match | minus
        rises, falls = minus | ~(diagonal | plus), plus & diagonal
        distance += ((rises >> (k - 1)) & 1) - ((falls >> (k - 1)) & 1)
        rises = (rises << 1) | 1
        plus, minus = (falls << 1) | ~(diagonal | rises), rises & diagonal
    return distance.long()


def _match_bits(positions: Tensor) -> Tensor:
    """Bit p of word t is set when item t of the first list is item p of the second."""
    dtype = next(dtype for width, dtype in _WORDS if positions.shape[1] <= width)
    one = torch.ones((), dtype=dtype, device=positions.device)
    shifts = (positions.to(dtype) - 1).clamp(min=0)
    return torch.where(positions > 0, one << shifts, torch.zeros_like(one))


def _lcs_by_rows(positions: Tensor) -> Tensor:
    """The textbook recurrence for lists longer than a word, one row of the table at a time."""
    s, k = positions.shape
    row = torch.zeros(s, k + 1, dtype=torch.int32, device=positions.device)
    columns = torch.arange(1, k + 1, device=positions.device)
    for t in range(k):
        taken = torch.where(columns == positions[:, t, None], row[:, :-1] + 1, row[:, 1:])
        row = torch.cat([row[:, :1], taken.cummax(dim=1).values], dim=1)
    return row[:, -1].long()


def _edit_by_rows(positions: Tensor) -> Tensor:
    """The textbook recurrence for lists longer than a word, one row of the table at a time."""
    s, k = positions.shape
    columns = torch.arange(k + 1, dtype=torch.int32, device=positions.device)
    row = columns.expand(s, -1)
    for t in range(k):
        differs = (columns[1:] != positions[:, t, None]).to(torch.int32)
        best = torch.minimum(row[:, :-1] + differs, row[:, 1:] + 1)
        best = torch.cat([torch.full_like(best[:, :1], t + 1), best], dim=1)
        row = (best - columns).cummin(dim=1).values + columns
    return row[:, -1].long()


def _mean_over_samples(measure: Callable[[Tensor], Tensor], x: Tensor, y: ListIndex) -> Float64[Tensor, "Lx Ly"]:
    """Mean of a measure of list pairs over the samples, for all pairs of layers."""
    n, k = x.shape[1:]
    layers_at_once = max(1, _LISTS_AT_ONCE // (n * k * y.n_layers))
    rows = []
    for some in x.split(layers_at_once):
        pairs = y.slots(some).permute(0, 1, 3, 2)
        rows.append(measure(pairs.reshape(-1, k)).view(pairs.shape[:3]).sum(dim=1))
    return torch.cat(rows).double() / n
