"""Subcomponents into components: greedy merging of what fires together, by description length.

Every component alive starts as a group of its own. A group fires where a member does. Describing which groups fire costs, per
group, ``s (log2 k + alpha r)`` with s its frequency, k the number of groups and r its members; the pair whose merging makes the
whole cheapest is merged, again and again.

Axis letters: ``n`` rows, ``g`` groups.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Merge", "MergeHistory", "description_length", "merge_groups", "perm_invariant_distance"]


@dataclass(frozen=True)
class Merge:
    """One merge: the members of both groups, and the description length after it, in bits per row."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    bits: float


@dataclass(frozen=True)
class MergeHistory:
    """All merges, from single components to one group.

    Attributes:
        items: Components that were merged, by number.
        start_bits: Description length before the first merge, in bits per row.
        merges: The merges in order.
    """

    items: tuple[int, ...]
    start_bits: float
    merges: tuple[Merge, ...]

    def groups_after(self, n_merges: int) -> list[tuple[int, ...]]:
        """Return the groups after so many merges, largest first."""
        groups: set[tuple[int, ...]] = {(item,) for item in self.items}
        for merge in self.merges[:n_merges]:
            groups -= {merge.left, merge.right}
            groups.add(tuple(sorted(merge.left + merge.right)))
        return sorted(groups, key=lambda group: (-len(group), group))

    @property
    def best(self) -> int:
        """Number of merges after which the description is shortest."""
        bits = [self.start_bits, *(merge.bits for merge in self.merges)]
        return min(range(len(bits)), key=bits.__getitem__)


def description_length(frequency: Float[Tensor, "g"], rank: Float[Tensor, "g"], alpha: float) -> float:
    """Return ``sum_g s_g (log2 k + alpha r_g)`` in bits per row."""
    k = len(frequency)
    return float((frequency * (math.log2(k) + alpha * rank)).sum()) if k else 0.0


def merge_groups(
    fires: Bool[Tensor, "n g"], weights: Float[Tensor, "n"], items: tuple[int, ...], alpha: float = 1.0
) -> MergeHistory:
    """Merge greedily until one group is left.

    Args:
        fires: Whether each item fires on each row.
        weights: Rows that each row stands for.
        items: Numbers of the items, for the record.
        alpha: Price of a member, in units of a bit.
    """
    share = weights / weights.sum()
    active = fires.to(weights.dtype)
    members: list[tuple[int, ...]] = [(item,) for item in items]
    rank = torch.ones(len(items))
    frequency = share @ active
    start = description_length(frequency, rank, alpha)
    merges: list[Merge] = []
    while len(members) > 1:
        i, j, bits = _cheapest(active, share, frequency, rank, alpha)
        merges.append(Merge(members[i], members[j], bits))
        members[i] = tuple(sorted(members[i] + members[j]))
        active[:, i] = torch.maximum(active[:, i], active[:, j])
        rank[i] += rank[j]
        keep = [g for g in range(len(members)) if g != j]
        members, active, rank = [members[g] for g in keep], active[:, keep], rank[keep]
        frequency = share @ active
    return MergeHistory(items, start, tuple(merges))


def _cheapest(
    active: Float[Tensor, "n g"],
    share: Float[Tensor, "n"],
    frequency: Float[Tensor, "g"],
    rank: Float[Tensor, "g"],
    alpha: float,
) -> tuple[int, int, float]:
    """Return the pair (i < j) whose merge leaves the shortest description, and that description's length."""
    k = len(rank)
    either = frequency.unsqueeze(1) + frequency.unsqueeze(0) - (active * share.unsqueeze(1)).T @ active
    bits = math.log2(k - 1) if k > 2 else 0.0
    own = frequency * (bits + alpha * rank)
    after = own.sum() - own.unsqueeze(1) - own.unsqueeze(0)
    after = after + either * (bits + alpha * (rank.unsqueeze(1) + rank.unsqueeze(0)))
    after = after.masked_fill(torch.ones_like(after, dtype=torch.bool).tril(), math.inf)
    best = int(after.argmin())
    return best // k, best % k, float(after.flatten()[best])


def perm_invariant_distance(left: list[tuple[int, ...]], right: list[tuple[int, ...]]) -> int:
    """Return how many items must change group to turn one grouping into the other, group names being of no matter.

    Groups are matched by the Hungarian method; 0 for the same grouping.

    Raises:
        ValueError: If the groupings are not of the same items.
    """
    from scipy.optimize import linear_sum_assignment

    items = sorted(item for group in left for item in group)
    if items != sorted(item for group in right for item in group):
        msg = "the groupings are not of the same items"
        raise ValueError(msg)
    overlap = torch.tensor([[len(set(a) & set(b)) for b in right] for a in left])
    rows, columns = linear_sum_assignment(-overlap.numpy())
    return len(items) - int(overlap[rows, columns].sum())
