"""Confidence intervals of benchmark scores.

Axis letters: n items, g groups.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp_registry.errors import DataError

__all__ = ["bootstrap_interval", "design_effect", "wilson_interval"]

NORMAL_975 = 1.959963984540054


def wilson_interval(share: float, n: float, z: float = NORMAL_975) -> tuple[float, float]:
    """Wilson's score interval of a proportion, within [0, 1]; not empty at shares 0 and 1 (Wilson 1927).

    Args:
        share: The observed proportion; NaN gives (NaN, NaN).
        n: Number of independent items (an effective number may have a fraction).
        z: Normal quantile; 1.96 for 95 %.

    Raises:
        DataError: No items.
    """
    if n <= 0:
        raise DataError(f"{n} items, an interval needs at least one")
    if math.isnan(share):
        return math.nan, math.nan
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def design_effect(hits: Bool[Tensor, "n"], groups: Int[Tensor, "n"]) -> float:
    """How many times the variance of a mean grows because items of a group are alike; at least 1 (Kish 1965).

    Captions of one image are not independent: the number of items divided by this is the effective number of items. It is 1
    where every group has one item: both variances are unbiased.
    """
    n = hits.shape[0]
    share = hits.double().mean()
    simple = share * (1 - share) / max(1, n - 1)
    if simple == 0:
        return 1.0
    sums = torch.zeros(int(groups.max()) + 1, dtype=torch.float64)
    sums.index_add_(0, groups, hits.double() - share)
    n_groups = groups.unique().numel()
    clustered = sums.square().sum() / n**2 * n_groups / max(1, n_groups - 1)
    return max(1.0, (clustered / simple).item())


def bootstrap_interval(
    ranks: Float[Tensor, "n"], groups: Int[Tensor, "n"], *, n_resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of the median and mean rank; whole groups are drawn with replacement.

    Args:
        ranks: Rank of the best positive of each query.
        groups: Group of each query (its image), 0 .. g - 1.
        n_resamples: Number of resamples.
        seed: Seed of the generator.

    Returns:
        Intervals under "median_rank" and "mean_rank".
    """
    generator = torch.Generator().manual_seed(seed)
    n_groups = int(groups.max()) + 1
    order = ranks.double().argsort()
    ascending, owner = ranks.double()[order], groups[order]
    medians, means = [], []
    for _ in range(n_resamples):
        drawn = torch.randint(n_groups, (n_groups,), generator=generator)
        weight = torch.bincount(drawn, minlength=n_groups)[owner]
        total = weight.cumsum(0)
        if total[-1] == 0:
            continue
        means.append((ascending * weight).sum() / total[-1])
        low, high = (total[-1] + 1) // 2, total[-1] // 2 + 1
        middle = torch.searchsorted(total, torch.stack([low, high]))
        medians.append(ascending[middle].mean())
    quantiles = torch.tensor([0.025, 0.975], dtype=torch.float64)
    intervals = {"median_rank": torch.stack(medians), "mean_rank": torch.stack(means)}
    return {key: tuple(torch.quantile(values, quantiles).tolist()) for key, values in intervals.items()}
