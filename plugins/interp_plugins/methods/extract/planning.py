"""How rows are cut into shards and shards into batches: a function of the shard, the token budget and the data alone.

Because nothing else enters, neither the number of processes nor their order nor an interruption changes a batch, and
the same plan gives the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BatchPlan", "batches_of", "padding_ratio", "shards_of"]

_MAX_WASTE = 1.15
_SMALLEST_SHARE = 8


@dataclass(frozen=True)
class BatchPlan:
    """The limits of a batch."""

    max_tokens: int
    """Padded tokens (for images: their number) at most."""
    batch_size: int | None = None
    """Samples at most; None leaves it to ``max_tokens``."""
    bucket: bool = True
    """Sort by length first. Without it batches keep the order of the data, as older tools did."""
    group: int | None = None
    """Cut a shard into groups of so many samples first, and each group into batches: token activations are stored by groups."""

    def to_json(self) -> dict[str, int | bool | None]:
        """The plan as it stands in the manifest."""
        plan = {"max_tokens": self.max_tokens, "batch_size": self.batch_size, "bucket": self.bucket}
        return plan if self.group is None else {**plan, "group": self.group}

    def groups(self, rows: range) -> list[range]:
        """The groups of a shard, in order; the shard itself where there are none."""
        size = self.group or max(len(rows), 1)
        return [rows[first : first + size] for first in range(0, len(rows), size)]


def shards_of(n_rows: int, shard_rows: int) -> list[range]:
    """Rows of each shard, in order; the last may be shorter."""
    return [range(first, min(first + shard_rows, n_rows)) for first in range(0, n_rows, shard_rows)]


def batches_of(lengths: Sequence[int], plan: BatchPlan) -> list[list[int]]:
    """Cut one group, of samples of these lengths, into batches of positions in it, longest first.

    A batch is closed when the next sample would exceed the budget, or when padding would exceed 15 % of a batch that
    already has an eighth of the budget. Longest first, so that memory runs out at once if it will; equal lengths keep
    their order.
    """
    order = list(range(len(lengths)))
    if plan.bucket:
        order.sort(key=lambda position: -lengths[position])
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = real = 0
    for position in order:
        length = lengths[position]
        if batch and _is_full(plan, len(batch) + 1, max(longest, length), real + length):
            batches.append(batch)
            batch, longest, real = [], 0, 0
        batch.append(position)
        longest, real = max(longest, length), real + length
    return [*batches, batch] if batch else batches


def _is_full(plan: BatchPlan, n_samples: int, longest: int, real: int) -> bool:
    if plan.batch_size is not None and n_samples > plan.batch_size:
        return True
    padded = n_samples * longest
    wasteful = plan.bucket and padded > _MAX_WASTE * real and real * _SMALLEST_SHARE > plan.max_tokens
    return padded > plan.max_tokens or wasteful


def padding_ratio(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Padded tokens over real ones; 1 is the best there is."""
    padded = sum(len(batch) * max(lengths[position] for position in batch) for batch in batches)
    return padded / sum(lengths)
