"""Losses on the singular values of the cross-covariance.

Axis letters: n pairs, d and e features, r = min(d, e) singular values.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from interp_plugins.losses.config import ClipSvdLoss, Reduction, SvdLoss
from interp_plugins.losses.rows import center_columns, check_pair, full_precision, raise_precision, unit_rows
from interp_registry.errors import DataError
from interp_registry.tensors.precision import precise_device

__all__ = ["CrossCovarianceGap", "PairCosineAndGap", "cross_singular_values", "pair_cosine", "spectral_gap_loss"]


@full_precision
def cross_singular_values(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "n e"],
    *,
    normalize: bool = True,
    center: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, "r"]:
    """Singular values, descending, of X'Y (`sum`) or X'Y/n (`mean`); with unit rows and `mean` their sum is at most 1.

    Raises:
        DataError: The sides do not match, a value is not finite, or ``reduction`` is unknown.
    """
    check_pair(x, y)
    if reduction not in ("mean", "sum"):
        raise DataError(f"reduction is {reduction!r}, expected 'mean' or 'sum'")
    x, y = raise_precision(x), raise_precision(y)
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    if center:
        x, y = center_columns(x), center_columns(y)
    covariance = x.T @ y
    if not covariance.isfinite().all():
        raise DataError("an embedding is not finite", "look for an overflow in the model")
    scaled = covariance / x.shape[0] if reduction == "mean" else covariance
    return torch.linalg.svdvals(scaled.to(precise_device(x.device))).to(x.device)


def spectral_gap_loss(
    singular_values: Float[Tensor, "r"], k: int, alpha: float = 1.0, beta: float = 0.5
) -> Float[Tensor, ""]:
    r""":math:`-\alpha(\sigma_k - \sigma_{k+1}) - \beta\sum_{i \le k}\sigma_i`; values beyond the last count as 0.

    It has no negatives: its optimum collapses embeddings to k directions, so train it together with a contrastive term.

    Raises:
        DataError: ``k`` is below 1.
    """
    if k < 1:
        raise DataError(f"k is {k}, expected at least 1 singular value")
    values = functional.pad(singular_values, (0, max(0, k + 1 - singular_values.shape[0])))
    return -alpha * (values[k - 1] - values[k]) - beta * values[:k].sum()


@full_precision
def pair_cosine(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean cosine of the pairs, in [-1, 1].

    Raises:
        DataError: The sides do not match.
    """
    check_pair(x, y)
    return (unit_rows(raise_precision(x)) * unit_rows(raise_precision(y))).sum(dim=-1).mean()


class CrossCovarianceGap:
    """The spectral gap loss of two sides with a configuration."""

    def __init__(self, config: SvdLoss) -> None:
        self.config = config

    def __call__(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n e"]) -> Float[Tensor, ""]:
        """The loss of one batch of pairs.

        Raises:
            DataError: The sides do not match, or (`compat`) k is not below the smaller width.
        """
        config = self.config
        values = cross_singular_values(
            x,
            y,
            normalize=config.normalize,
            center=config.center and not config.compat,
            reduction="sum" if config.compat else config.reduction,
        )
        if config.compat and config.k >= values.shape[0]:
            raise DataError(
                f"k is {config.k}, the earlier definition needs k below {values.shape[0]}", "leave `compat` out"
            )
        return spectral_gap_loss(values, config.k, config.alpha, config.beta)


class PairCosineAndGap:
    """Minus gamma times the mean cosine of the pairs, plus the spectral gap loss, with a configuration."""

    def __init__(self, config: ClipSvdLoss) -> None:
        self.config = config
        self._gap = CrossCovarianceGap(
            SvdLoss(
                k=config.k,
                alpha=config.alpha,
                beta=config.beta,
                normalize=config.normalize,
                center=config.center,
                reduction=config.reduction,
                compat=config.compat,
            )
        )

    def __call__(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        """The loss of one batch of pairs."""
        agreement = _mean_product(x, y) if self.config.compat else pair_cosine(x, y)
        return self._gap(x, y) - self.config.gamma * agreement


def _mean_product(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    return (raise_precision(x) * raise_precision(y)).sum(dim=-1).mean()
