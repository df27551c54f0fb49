"""Sparse feature vectors: the inputs of the toy models.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows, ``f`` features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp_registry.errors import UsageError

__all__ = ["SparseFeatures", "nonzero_rows"]

_EXACTLY = {f"exactly_{word}_active": i for i, word in enumerate(("one", "two", "three", "four", "five"), 1)}


@dataclass(frozen=True)
class SparseFeatures:
    """Rows of features of which few are active.

    Attributes:
        n_features: Length of a row.
        probability: Probability that a feature (or a synced group) is active.
        low: Least value of an active feature.
        high: Largest value.
        generation: ``at_least_zero_active``, or ``exactly_one_active`` to ``exactly_five_active``.
        synced: Groups of features that are active together.
    """

    n_features: int
    probability: float
    low: float = 0.0
    high: float = 1.0
    generation: str = "at_least_zero_active"
    synced: Sequence[Sequence[int]] = ()

    def __post_init__(self) -> None:
        if self.generation != "at_least_zero_active" and self.generation not in _EXACTLY:
            known = ", ".join(["at_least_zero_active", *_EXACTLY])
            raise UsageError(f"unknown data generation {self.generation!r}", f"known: {known}")

    def batch(self, n_rows: int, generator: torch.Generator, runs: Sequence[int] = ()) -> Float[Tensor, "*r n f"]:
        """Draw rows. For ``at_least_zero_active``: the values first, then which are active."""
        shape = (*runs, n_rows, self.n_features)
        values = torch.rand(shape, generator=generator, device=generator.device)
        values = values * (self.high - self.low) + self.low
        noise = torch.rand(shape, generator=generator, device=generator.device)
        if self.generation in _EXACTLY:
            k = _EXACTLY[self.generation]
            return values * (noise.argsort(-1).argsort(-1) < k)
        active = noise < self.probability
        for group in self.synced:
            active[..., list(group)] = active[..., [group[0]]]
        return values * active


def nonzero_rows(batch: Float[Tensor, "*r n f"]) -> tuple[Float[Tensor, "*r m f"], Float[Tensor, "*r m"]]:
    """Keep the rows that are not zero and one zero row that stands for all others.

    Returns:
        The rows, and how many rows of the batch each stands for. With run dimensions every run is padded with zero rows
        of weight zero to the length of the longest.
    """
    present = batch.ne(0).any(-1)
    n_rows, n_features = batch.shape[-2:]
    if batch.dim() == 2:
        rows = batch[present]
        kept = torch.cat([rows, batch.new_zeros(1, n_features)])
        weights = batch.new_ones(len(kept))
        weights[-1] = n_rows - len(rows)
        return kept, weights
    counts = present.sum(-1, keepdim=True)
    size = int(counts.max()) + 1
    run, row = present.nonzero(as_tuple=True)
    kept = batch.new_zeros(batch.shape[0], size, n_features)
    kept[run, present.cumsum(-1)[run, row] - 1] = batch[run, row]
    weights = (torch.arange(size, device=batch.device) < counts).to(batch.dtype)
    weights[:, -1] = (n_rows - counts.squeeze(-1)).to(batch.dtype)
    return kept, weights
