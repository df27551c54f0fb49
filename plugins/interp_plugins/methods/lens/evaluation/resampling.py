"""Bootstrap intervals over rows, whole documents at a time: rows of one text are not independent.

Every measure of the suite is a ratio of two sums over rows (a mean is a ratio too), so one function serves all of them.

Axes: n rows, g documents, r resamples.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_registry.tensors.seeding import generator

__all__ = ["Estimate", "mean_estimate", "ratio_estimate"]

_BLOCK = 64


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; both ends NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def complement(self) -> "Estimate":
        """1 minus this."""
        return Estimate(1 - self.value, 1 - self.high, 1 - self.low)

    def scaled(self, factor: float) -> "Estimate":
        """This times a positive number."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def to_json(self) -> list[float]:
        """Value, low end, high end."""
        return [self.value, self.low, self.high]

    def __str__(self) -> str:
        span = "" if math.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.value:.4g}{span}"


def ratio_estimate(
    numerator: Float[Tensor, "n"],
    denominator: Float[Tensor, "n"],
    documents: Int[Tensor, "n"],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """``sum(numerator) / sum(denominator)`` with a 95 % percentile interval; whole documents are drawn with replacement.

    Rows whose numerator or denominator is NaN are left out. Without rows the value is NaN; with fewer than two documents there is no
    interval.

    Args:
        numerator: One summand per row.
        denominator: One per row; ones for a mean.
        documents: Which document each row is from.
        n_resamples: Number of resamples.
        seed: Seed of the draws; the same seed draws the same documents, so intervals of several measures belong together.
    """
    present = ~(numerator.isnan() | denominator.isnan())
    names, owner = documents[present].cpu().unique(return_inverse=True)
    n_documents = len(names)
    sums = torch.zeros(n_documents, 2, dtype=torch.float64)
    summands = torch.stack([numerator[present].double(), denominator[present].double()], 1).cpu()
    sums.index_add_(0, owner, summands)
    value = _ratios(sums.sum(0, keepdim=True))
    if n_documents < 2:
        return Estimate(float(value[0]))
    source = generator(seed, "bootstrap of documents")
    drawn: list[Tensor] = []
    for first in range(0, n_resamples, _BLOCK):
        rows = min(_BLOCK, n_resamples - first)
        picks = torch.randint(n_documents, (rows, n_documents), generator=source)
        weights = torch.zeros(rows, n_documents, dtype=torch.float64)
        weights.scatter_add_(1, picks, torch.ones_like(picks, dtype=torch.float64))
        drawn.append(_ratios(weights @ sums))
    low, high = torch.cat(drawn).nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(float(value[0]), low, high)


def mean_estimate(
    values: Float[Tensor, "n"], documents: Int[Tensor, "n"], *, n_resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Mean over rows with the interval of :func:`ratio_estimate`."""
    values = values.double()
    return ratio_estimate(values, torch.ones_like(values), documents, n_resamples=n_resamples, seed=seed)


def _ratios(sums: Float[Tensor, "r 2"]) -> Float[Tensor, "r"]:
    return torch.where(sums[:, 1] != 0, sums[:, 0] / sums[:, 1], math.nan)
