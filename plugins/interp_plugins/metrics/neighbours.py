"""Exact nearest neighbours by inner product, and tables that count what neighbour lists share.

Neighbours of sample i are the k samples j != i with the largest inner products <x_i, x_j>, in descending order; equal
values are ordered by index, lower first. With unit rows this is the order of cosine similarity and of Euclidean distance.

Axis letters: n samples, d features, k neighbours, r rows of a block, Lx and Ly layers.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from interp_plugins.metrics.gram import centre_columns, full_precision, gram, require_precise

__all__ = ["ListIndex", "grouped_neighbour_table", "nearest", "neighbour_table", "permuted_lists"]

_ONE_GRAM = 4096
_BLOCK_ENTRIES = 1 << 25
_LAYERS_PER_WORD = 8
_LARGEST_IN_BYTE = 254
_EXCLUDED = float("-inf")


def neighbour_table(
    x: Float[Tensor, "n d"], k: int, include_self: bool = False, centred_gram: Float[Tensor, "n n"] | None = None
) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The k nearest neighbours of every row and their inner products, exactly and in bounded memory.

    Up to 4,096 samples one Gram is computed from half of its products; beyond, blocks of rows hold at most 128 MiB.

    Args:
        x: Features of one layer, float32 or float64.
        k: How many neighbours, below n (at most n with ``include_self``).
        include_self: Whether a sample counts as its own neighbour.
        centred_gram: The Gram of the centred features, if it is known already.

    Returns:
        int32 indices and the inner products, in descending order.
    """
    require_precise(x)
    n = x.shape[0]
    # <x_i, x_j> = <c_i, c_j> + <m, c_j> + (terms of i alone), c = x - m: centred products keep more digits.
    centred = centre_columns(x)
    mean = x[0] - centred[0]
    offset = centred @ mean
    whole = gram(centred) if centred_gram is None and n <= _ONE_GRAM else centred_gram
    indices, values = [], []
    for rows in _row_blocks(n):
        block = _products(centred, rows) if whole is None else whole[rows]
        found, products = nearest(block + offset, k, None if include_self else rows.start)
        indices.append(found)
        values.append(products + (offset[rows, None] + mean @ mean))
    return torch.cat(indices), torch.cat(values)


def grouped_neighbour_table(
    x: Float[Tensor, "n d"], group: Int64[Tensor, " n"], k: int, include_self: bool = False
) -> tuple[Int[Tensor, "g k"], Float[Tensor, "g k"]]:
    """Nearest neighbours among samples that have several rows each, such as an image with several captions.

    The similarity of two samples is the largest inner product of a row of one with a row of the other; a sample's own rows are no
    neighbours of it.

    Args:
        x: Features of all rows.
        group: Which of the g samples each row belongs to.
        k: How many neighbours, below g.
        include_self: Whether a sample counts as its own neighbour.

    Returns:
        int32 indices of samples and their similarities, in descending order.
    """
    require_precise(x)
    n_groups = int(group.max()) + 1
    order = group.argsort(stable=True)
    x, group = x[order], group[order]
    first = torch.searchsorted(group, torch.arange(n_groups + 1, device=x.device))
    at_once = max(1, _BLOCK_ENTRIES * n_groups // (x.shape[0] ** 2))
    indices, values = [], []
    for start in range(0, n_groups, at_once):
        stop = min(start + at_once, n_groups)
        rows = slice(int(first[start]), int(first[stop]))
        products = _products(x, rows)
        by_column = products.new_full((products.shape[0], n_groups), _EXCLUDED)
        by_column.scatter_reduce_(1, group.expand(products.shape), products, "amax")
        block = products.new_full((stop - start, n_groups), _EXCLUDED)
        block.scatter_reduce_(0, (group[rows] - start)[:, None].expand(by_column.shape), by_column, "amax")
        found, similar = nearest(block, k, None if include_self else start)
        indices.append(found)
        values.append(similar)
    return torch.cat(indices), torch.cat(values)


def nearest(
    similarities: Float[Tensor, "r n"], k: int, first_row: int | None = None
) -> tuple[Int[Tensor, "r k"], Float[Tensor, "r k"]]:
    """Positions and values of the k largest entries of each row; equal values in order of position.

    Args:
        similarities: Rows of a similarity matrix; overwritten at the excluded entries.
        k: How many.
        first_row: When given, entry first_row + i of row i (the sample itself) is excluded.
    """
    n = similarities.shape[1]
    if first_row is not None:
        similarities.diagonal(first_row).fill_(_EXCLUDED)
    wide = min(k + 1, n)
    values, positions = similarities.topk(wide, dim=1)
    _order_ties(similarities, values, positions, k)
    return positions[:, :k].to(torch.int32), values[:, :k].contiguous()


def permuted_lists(lists: Int[Tensor, "l n k"], permutation: Int64[Tensor, " n"]) -> Int64[Tensor, "l n k"]:
    """Neighbour lists of the layers whose row i is now the old row ``permutation[i]``."""
    inverse = permutation.argsort()
    return torch.take(inverse, lists.index_select(1, permutation).long())


class ListIndex:
    """The neighbour lists of one model, arranged so that other lists are compared with all its layers at once.

    Tables of n x n words hold one byte per layer, so one look-up answers for eight layers. Where a table is too large (n above
    4,096) or a position does not fit in a byte (k above 254), lists are compared directly, in memory that grows with n k.

    Args:
        lists: Ordered neighbour lists of every layer.
        mark_slots: Whether `slots` will be asked for; otherwise `counts` and `returns` will.
    """

    def __init__(self, lists: Int[Tensor, "l n k"], mark_slots: bool = False) -> None:
        self.lists = lists
        self.n_layers, n, k = lists.shape
        fits = n <= _ONE_GRAM and k <= _LARGEST_IN_BYTE
        self._words = list(_word_tables(lists, mark_slots)) if fits else None

    def counts(self, other: Int[Tensor, "o n k"]) -> Int[Tensor, "o n l"]:
        """How many neighbours of sample i in a layer of ``other`` are its neighbours here, in [0, k]."""
        if self._words is None:
            return torch.stack([(_compared(other, y) > 0).sum(-1, dtype=torch.int32) for y in self.lists], dim=-1)
        edges = _flat_edges(other)
        return self._bytes([torch.take(words, edges).sum(dim=-1) for words in self._words])

    def returns(self, other: Int[Tensor, "o n k"]) -> Int[Tensor, "o n l"]:
        """How many neighbours of sample i in a layer of ``other`` have i among their neighbours here, in [0, k]."""
        if self._words is None:
            return torch.stack([_returned(x, other) for x in self.lists], dim=-1)
        edges = _flat_edges(other, transposed=True)
        return self._bytes([torch.take(words, edges).sum(dim=-1) for words in self._words])

    def slots(self, other: Int[Tensor, "o n k"]) -> Int[Tensor, "o n k l"]:
        """For every neighbour in ``other``, 1 + its position in the list of the same sample here, or 0."""
        if self._words is None:
            return torch.stack([_compared(other, y) for y in self.lists], dim=-1)
        edges = _flat_edges(other)
        return self._bytes([torch.take(words, edges) for words in self._words])

    def _bytes(self, words: list[Tensor]) -> Tensor:
        """Split words into bytes along a new last axis, one per layer."""
        return torch.cat([w.unsqueeze(-1).view(torch.uint8) for w in words], dim=-1)[..., : self.n_layers]


def _row_blocks(n: int) -> Iterator[slice]:
    size = n if n <= _ONE_GRAM else max(1, _BLOCK_ENTRIES // n)
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _products(x: Tensor, rows: slice) -> Tensor:
    with full_precision():
        return x[rows] @ x.T


def _order_ties(similarities: Tensor, values: Tensor, positions: Tensor, k: int) -> None:
    """Make the choice among equal values that of the stable descending order, in place."""
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero().flatten()
    if tied.numel() == 0:
        return
    for some in tied.split(max(1, _BLOCK_ENTRIES // similarities.shape[1] // 8)):
        ordered = similarities[some].sort(dim=1, descending=True, stable=True)
        values[some, :k], positions[some, :k] = ordered.values[:, :k], ordered.indices[:, :k]


def _flat_edges(lists: Tensor, transposed: bool = False) -> Tensor:
    """Positions i * n + j (or j * n + i) of all edges i -> j in an n x n table."""
    n = lists.shape[1]
    rows = torch.arange(n, device=lists.device)[:, None]
    return lists.long() * n + rows if transposed else lists.long() + rows * n


def _word_tables(lists: Tensor, mark_slot: bool) -> Iterator[Tensor]:
    """Tables of n x n words; byte b of a word is 1 (or 1 + slot) if the edge is in layer b of the group."""
    n, k = lists.shape[1:]
    edges = _flat_edges(lists).flatten(1)
    marks = torch.arange(1, k + 1, device=lists.device) if mark_slot else torch.ones(k, device=lists.device).long()
    for group in edges.split(_LAYERS_PER_WORD):
        words = torch.zeros(n * n, dtype=torch.int64, device=lists.device)
        for byte, layer in enumerate(group):
            words.scatter_add_(0, layer, (marks << (8 * byte)).repeat(n))
        yield words


def _compared(x: Tensor, y: Tensor) -> Tensor:
    """`ListIndex.slots` against one layer, by comparing lists directly; memory grows with n k, not n^2."""
    dtype = torch.uint8 if y.shape[1] <= _LARGEST_IN_BYTE else torch.int32
    out = torch.zeros(x.shape, dtype=dtype, device=x.device)
    for slot in range(y.shape[1]):
        out += (x == y[:, slot, None]).to(dtype) * (slot + 1)
    return out


def _returned(x: Tensor, y: Tensor) -> Tensor:
    """`ListIndex.returns` of one layer of x, by looking up the lists of the neighbours."""
    sample = torch.arange(x.shape[0], device=x.device).to(x.dtype)[:, None]
    found = [(x[layer[:, slot].long()] == sample).any(dim=-1) for layer in y for slot in range(y.shape[2])]
    return torch.stack(found).view(y.shape[0], y.shape[2], -1).sum(dim=1, dtype=torch.int32)
