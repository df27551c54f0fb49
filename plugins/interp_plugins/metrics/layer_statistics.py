"""Statistics of the layers of one model: dimensionality, spectrum, anisotropy, and change from layer to layer.

Axis letters: n samples, d features, s singular values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from interp_plugins.metrics.gram import centre_columns
from interp_plugins.metrics.layer_bank import LayerBank

__all__ = ["LayerStatistics", "layer_statistics", "spectral_statistics", "two_nearest_dimension"]

_DECAY_RANKS = 100
_SAME = 1e-12
_DISCARDED = 0.1


@dataclass(frozen=True)
class LayerStatistics:
    """What is known of one layer; see `layer_statistics` for the formulas.

    Attributes:
        effective_rank: exp of the entropy of the normalised singular values, in [1, min(n - 1, d)].
        participation_ratio: Dimensions among which variance is shared, in [1, min(n - 1, d)].
        dims_95: Principal components that hold 95 % of the variance.
        spectral_decay: Minus the slope of log eigenvalue against log rank over the first 100 ranks; a power law has its exponent.
        top_share: Share of variance of the first principal component, in [0, 1].
        intrinsic_dimension: Two-nearest-neighbours estimate; NaN where duplicated samples leave nothing to estimate from.
        anisotropy: Mean cosine of different samples, in [-1/(n-1), 1].
        norm: Mean Euclidean norm of the samples.
        cka_previous: Linear CKA with the layer before; NaN for the first.
        drift: Mean distance to the layer before, over the mean norm of both; NaN for the first and where widths differ.
        turn: Mean angle to the layer before in radians, in [0, pi]; NaN as for drift.
        topology_first: 1 - Pearson correlation of sample distances with those of the first layer, in [0, 2].
    """

    effective_rank: float
    participation_ratio: float
    dims_95: int
    spectral_decay: float
    top_share: float
    intrinsic_dimension: float
    anisotropy: float
    norm: float
    cka_previous: float
    drift: float
    turn: float
    topology_first: float


def layer_statistics(layers: Sequence[Float[Tensor, "n _"]]) -> list[LayerStatistics]:
    """Statistics of every layer, in order of computation; features are taken as they are (not normalised).

    With singular values s of the centred features, eigenvalues s^2 and p = s / sum(s):
    effective rank exp(-sum p log p) (Roy and Vetterli 2007); participation ratio (sum s^2)^2 / sum s^4; intrinsic dimension of Facco
    et al. 2017; anisotropy |mean of unit rows|^2 corrected for the diagonal (Ethayarajh 2019); CKA of Kornblith et al. 2019.
    """
    from interp_plugins.metrics.cka import Cka
    from interp_plugins.metrics.config import CkaConfig
    from interp_plugins.metrics.config_variants import RsaConfig
    from interp_plugins.metrics.distances import Rsa

    bank = LayerBank(layers, keep_grams=True)
    cka, rsa = Cka(CkaConfig()), Rsa(RsaConfig(comparison="pearson", dissimilarity="euclidean"))
    state = cka.prepare(bank)
    neighbours = cka.score_pairs(state, state)
    distances = rsa.prepare(bank)
    first = {name: tensor[:1] for name, tensor in distances.items()}
    topology = 1 - rsa.score_pairs(first, distances)[0]
    found = []
    for index, layer in enumerate(bank):
        before = bank[index - 1] if index else None
        drift, turn = (math.nan, math.nan) if before is None else _change(before, layer)
        found.append(
            LayerStatistics(
                **spectral_statistics(layer),
                intrinsic_dimension=two_nearest_dimension(layer),
                anisotropy=_anisotropy(layer),
                norm=float(layer.double().norm(dim=1).mean()),
                cka_previous=float(neighbours[index - 1, index]) if index else math.nan,
                drift=drift,
                turn=turn,
                topology_first=max(0.0, float(topology[index])),
            )
        )
    return found


def spectral_statistics(x: Float[Tensor, "n d"]) -> dict[str, Any]:
    """Effective rank, participation ratio, components for 95 % of variance, spectral decay and share of the first component."""
    centred = centre_columns(x).double()
    small = centred @ centred.T if x.shape[0] < x.shape[1] else centred.T @ centred
    eigenvalues = torch.linalg.eigvalsh(small).flip(0).clamp(min=0)
    eigenvalues = eigenvalues[eigenvalues > _SAME * eigenvalues[0]]
    shares, singular = eigenvalues / eigenvalues.sum(), eigenvalues.sqrt()
    p = singular / singular.sum()
    return {
        "effective_rank": float(torch.exp(-(p * p.log()).sum())),
        "participation_ratio": float(1 / shares.square().sum()),
        "dims_95": int((shares.cumsum(0) < 0.95).sum()) + 1,
        "spectral_decay": _decay(eigenvalues[:_DECAY_RANKS]),
        "top_share": float(shares[0]),
    }


def two_nearest_dimension(x: Float[Tensor, "n d"]) -> float:
    """Intrinsic dimension from the ratio of the distances to the second and to the first neighbour (Facco et al. 2017).

    With mu = r2/r1 and F its empirical distribution, the slope through 0 of -log(1 - F) against log mu; the largest tenth of the
    ratios is left out, as in the paper. Samples with an exact copy are left out; NaN when fewer than three remain.
    """
    near = (
        torch.cdist(x.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist").topk(3, largest=False).values
    )
    ratios = (near[:, 2] / near[:, 1])[near[:, 1] > 0].sort().values
    kept = ratios[: max(3, int(len(ratios) * (1 - _DISCARDED)))]
    if len(kept) < 3:
        return math.nan
    rank = torch.arange(1, len(kept) + 1, dtype=torch.float64, device=x.device) / (len(ratios) + 1)
    log_ratio = kept.log()
    return float((log_ratio * -(1 - rank).log()).sum() / log_ratio.square().sum())


def _decay(eigenvalues: Float64[Tensor, " s"]) -> float:
    if len(eigenvalues) < 2:
        return math.nan
    rank = torch.arange(1, len(eigenvalues) + 1, dtype=torch.float64, device=eigenvalues.device).log()
    value = eigenvalues.log()
    rank, value = rank - rank.mean(), value - value.mean()
    return float(-(rank * value).sum() / rank.square().sum())


def _anisotropy(x: Float[Tensor, "n d"]) -> float:
    """Mean cosine of pairs of different rows: (n |mean unit row|^2 - 1) / (n - 1)."""
    n = x.shape[0]
    mean = torch.nn.functional.normalize(x.double(), dim=1).mean(dim=0)
    return float((n * mean.square().sum() - 1) / (n - 1))


def _change(before: Float[Tensor, "n _"], now: Float[Tensor, "n d"]) -> tuple[float, float]:
    """Relative distance and angle between a sample in two layers, on average."""
    if before.shape != now.shape:
        return math.nan, math.nan
    a, b = before.double(), now.double()
    distance = (b - a).norm(dim=1).mean() / ((a.norm(dim=1).mean() + b.norm(dim=1).mean()) / 2)
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1).clamp(-1, 1)
    return float(distance), float(cosine.arccos().mean())
