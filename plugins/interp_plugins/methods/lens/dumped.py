"""Dumped activations as lenses read them: rows, texts, a split by document, statistics."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

__all__ = ["Rows", "Statistics"]


@dataclass(frozen=True)
class Rows:
    """Some rows of a dump at one layer."""

    activations: "Float[Tensor, 'n d']"
    """float32, whatever the dump is stored as."""
    token_ids: "Int[Tensor, 'n s']"
    """Tokens of the text that each row is from, padded on the right."""
    lengths: "Int[Tensor, 'n']"
    """Real tokens of each text."""
    positions: "Int[Tensor, 'n']"
    """Which token of its text each row is."""
    documents: "Int[Tensor, 'n']"
    """Number of the text in the data set."""

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class Statistics:
    """Moments of a layer's activations over the training rows of a dump."""

    mean: "Float[Tensor, 'd']"
    """Mean of the activations."""
    std: "Float[Tensor, 'd']"
    """Standard deviation of each coordinate."""
    mean_norm: float
    """Mean Euclidean norm."""
    max_abs: float
    """Largest coordinate in absolute value: decides whether float16 can hold it."""
    variance: float
    """Mean over rows of |a - mean|^2: the denominator of FVE."""
    normalised_variance: float
    """The same of the rows scaled to unit norm, after the definition of natural-language autoencoders (``fve_nrm``)."""
