"""Values of the alignment losses over their settings; gaps and sums are computed once, because the losses are linear in alpha and beta.

Axis letters: r singular values or eigenvalues, a and b settings of alpha and beta.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.losses.eigengap import eigengap_loss
from interp_plugins.losses.spectral import spectral_gap_loss
from interp_registry.errors import DataError

__all__ = ["cka_against_noise", "eigengap_curve", "eigengap_surface", "spectral_curve", "spectral_surface"]


def spectral_surface(
    values: Float[Tensor, "r"], k: int, alphas: Float[Tensor, "a"], betas: Float[Tensor, "b"]
) -> Float[Tensor, "a b"]:
    """The spectral gap loss of given singular values for every alpha (rows) and beta (columns)."""
    gap, total = spectral_gap_loss(values, k, 1.0, 0.0), spectral_gap_loss(values, k, 0.0, 1.0)
    return alphas[:, None] * gap + betas[None, :] * total


def eigengap_surface(
    values: Float[Tensor, "r"], k: int, alphas: Float[Tensor, "a"], betas: Float[Tensor, "b"]
) -> Float[Tensor, "a b"]:
    """The eigengap loss of given Laplacian eigenvalues for every alpha (rows) and beta (columns)."""
    gap, below = eigengap_loss(values, k, 1.0, 0.0), eigengap_loss(values, k, 0.0, 1.0)
    return alphas[:, None] * gap + betas[None, :] * below


def spectral_curve(values: Float[Tensor, "r"], k_max: int, alpha: float = 1.0, beta: float = 0.5) -> list[float]:
    """The spectral gap loss for k = 1 .. k_max."""
    return [spectral_gap_loss(values, k, alpha, beta).item() for k in range(1, k_max + 1)]


def eigengap_curve(values: Float[Tensor, "r"], k_max: int, alpha: float = 1.0, beta: float = 0.5) -> list[float]:
    """The eigengap loss for k = 1 .. k_max.

    Raises:
        DataError: There are not k_max + 1 eigenvalues.
    """
    if k_max >= len(values):
        raise DataError(f"k up to {k_max} needs {k_max + 1} eigenvalues, there are {len(values)}", "lower --k-max")
    return [eigengap_loss(values, k, alpha, beta).item() for k in range(1, k_max + 1)]


def cka_against_noise(
    x: Float[Tensor, "n d"], levels: Float[Tensor, "a"], generator: torch.Generator, *, debiased: bool = False
) -> list[float]:
    """CKA in [0, 1] of x with x plus Gaussian noise of the given levels, in units of the standard deviation of x."""
    from interp_plugins.losses.cka import debiased_linear_cka, linear_cka

    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype) * x.std()
    measure = debiased_linear_cka if debiased else linear_cka
    return [measure(x, x + level * noise).item() for level in levels]
