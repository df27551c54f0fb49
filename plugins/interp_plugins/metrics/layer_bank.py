"""The layers of one model with what several metrics need of them, computed once.

Axis letters: n samples, d features, k neighbours, m chosen rows.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import overload

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from interp_plugins.metrics.gram import centre_columns, gram
from interp_plugins.metrics.neighbours import grouped_neighbour_table, neighbour_table
from interp_registry.errors import DataError

__all__ = ["LayerBank"]


class LayerBank(Sequence[Tensor]):
    """A sequence of layers ``[n, d]`` that remembers neighbour tables and centred Grams.

    A metric that is handed plain layers wraps them; several metrics that are handed the same bank share its tables.

    Args:
        layers: Layers of one model, float32 or float64.
        keep_grams: Whether Grams stay in memory (n^2 values per layer) for the next metric.
        group: Which sample each row belongs to, where samples have several rows (captions of an image): neighbours are then found by
            the most similar rows of two samples, and everything else is computed from the mean row of each sample.
    """

    def __init__(
        self,
        layers: Sequence[Float[Tensor, "n _"]],
        keep_grams: bool = False,
        group: Int64[Tensor, " n"] | None = None,
    ) -> None:
        self._rows, self._group = list(layers), group
        self._layers = self._rows if group is None else [_means(layer, group) for layer in layers]
        self._keep_grams = keep_grams
        self._grams: dict[int, Tensor] = {}
        self._tables: dict[tuple[int, bool], tuple[Tensor, Tensor]] = {}

    @classmethod
    def of(cls, layers: Sequence[Tensor]) -> "LayerBank":
        """The same bank if it is one, else a new one around the layers."""
        return layers if isinstance(layers, LayerBank) else cls(layers)

    def __len__(self) -> int:
        return len(self._layers)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        return self._layers[index]

    @property
    def n(self) -> int:
        """Number of samples."""
        return self._layers[0].shape[0]

    def neighbours(self, k: int, include_self: bool = False) -> tuple[Int[Tensor, "l n k"], Float[Tensor, "l n k"]]:
        """The k nearest neighbours in every layer and their inner products.

        Raises:
            DataError: There are not k other samples.
        """
        limit = self.n if include_self else self.n - 1
        if not 1 <= k <= limit:
            raise DataError(
                f"topk={k} needs more than {k} samples, and there are {self.n}",
                f"use topk between 1 and {limit}, or more samples",
            )
        deepest = max((depth for depth, own in self._tables if own == include_self and depth >= k), default=None)
        if deepest is None:
            grams = self.centred_grams() if self._keep_grams and self._group is None else repeat(None)
            if self._group is None:
                found = [neighbour_table(x, k, include_self, g) for x, g in zip(self._layers, grams, strict=False)]
            else:
                found = [grouped_neighbour_table(x, self._group, k, include_self) for x in self._rows]
            self._tables[k, include_self] = (torch.stack([f[0] for f in found]), torch.stack([f[1] for f in found]))
            deepest = k
        indices, values = self._tables[deepest, include_self]
        return indices[..., :k], values[..., :k]

    def centred_grams(self) -> Iterator[Float[Tensor, "n n"]]:
        """Grams of the centred layers, H X X' H, one at a time; do not modify them."""
        for index, layer in enumerate(self._layers):
            found = self._grams.get(index)
            if found is None:
                found = gram(centre_columns(layer))
                if self._keep_grams:
                    self._grams[index] = found
            yield found

    def rows(self, rows: Int[Tensor, " m"]) -> "LayerBank":
        """The same layers on some of the samples."""
        if self._group is None:
            return LayerBank([layer[rows] for layer in self._layers], self._keep_grams)
        place = self._group.new_full((self.n,), -1)
        place[rows] = torch.arange(len(rows), device=place.device)
        kept = place[self._group] >= 0
        return LayerBank([layer[kept] for layer in self._rows], self._keep_grams, place[self._group[kept]])


def _means(layer: Float[Tensor, "n d"], group: Int64[Tensor, " n"]) -> Float[Tensor, "g d"]:
    """Mean row of each sample."""
    n_groups = int(group.max()) + 1
    sums = layer.new_zeros(n_groups, layer.shape[1]).index_add_(0, group, layer)
    return sums / torch.bincount(group, minlength=n_groups)[:, None].to(layer.dtype)
