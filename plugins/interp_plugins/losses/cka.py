"""Linear centred kernel alignment as a loss.

Axis letters: n pairs, d and e features.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.losses.config import CkaLoss
from interp_plugins.losses.rows import center_columns, check_pair, full_precision, raise_precision

__all__ = ["Cka", "debiased_linear_cka", "earlier_cka", "linear_cka"]


@full_precision
def linear_cka(x: Float[Tensor, "n d"], y: Float[Tensor, "n e"], *, center: bool = True) -> Float[Tensor, ""]:
    r"""Linear CKA in [0, 1] (Kornblith et al. 2019, eq. 3, in feature space).

    :math:`\|X^\top Y\|_F^2 / (\|X^\top X\|_F \|Y^\top Y\|_F)` of column-centred matrices. Invariant to rotation and to a common
    scale of either side. Biased towards 1 when there are fewer rows than features: see `debiased_linear_cka`.

    Args:
        x: One side, a row per pair.
        y: The other side.
        center: Centre the columns first.

    Raises:
        DataError: The sides do not match.
    """
    check_pair(x, y)
    x, y = _unit_frobenius(x, center=center), _unit_frobenius(y, center=center)
    cross, own_x, own_y = (x.T @ y).square().sum(), (x.T @ x).norm(), (y.T @ y).norm()
    return cross / (own_x * own_y).clamp_min(torch.finfo(x.dtype).tiny)


@full_precision
def debiased_linear_cka(x: Float[Tensor, "n d"], y: Float[Tensor, "n e"]) -> Float[Tensor, ""]:
    """Linear CKA from the unbiased HSIC estimate; about 0 for independent data, 1 for equal, may be slightly negative.

    Gram matrices without their diagonals, U-centred (Song et al. 2012, eq. 5; Nguyen et al. 2021). Invariant to rotation and scale.

    Raises:
        DataError: The sides do not match, or there are fewer than 4 rows.
    """
    check_pair(x, y, n_min=4)
    k, m = (_u_centred(_unit_frobenius(side, center=True)) for side in (x, y))
    variance = (k.square().sum() * m.square().sum()).clamp_min(torch.finfo(k.dtype).tiny)
    return (k * m).sum() / variance.sqrt()


@full_precision
def earlier_cka(x: Float[Tensor, "n d"], y: Float[Tensor, "n e"], *, center: bool = True) -> Float[Tensor, ""]:
    """The earlier study's alignment: Gram matrices and an absolute 1e-8 in the denominator, so it depends on the scale."""
    check_pair(x, y)
    x, y = raise_precision(x), raise_precision(y)
    if center:
        x, y = center_columns(x), center_columns(y)
    k, m = x @ x.T, y @ y.T
    return (k * m).sum() / ((k.square().sum() * m.square().sum()).sqrt() + 1e-8)


def _unit_frobenius(x: Float[Tensor, "n d"], *, center: bool) -> Float[Tensor, "n d"]:
    x = raise_precision(x)
    x = center_columns(x) if center else x
    return x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)


def _u_centred(x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    n = x.shape[0]
    gram = x @ x.T
    gram = gram - torch.diag(gram.diagonal())
    rows = gram.sum(dim=0) / (n - 2)
    centred = gram - rows[None, :] - rows[:, None] + gram.sum() / ((n - 1) * (n - 2))
    return centred - torch.diag(centred.diagonal())


class Cka:
    """Minus CKA with a configuration: -1 where both sides agree up to rotation and scale."""

    def __init__(self, config: CkaLoss) -> None:
        self.config = config

    def __call__(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n e"]) -> Float[Tensor, ""]:
        """The loss of one batch of pairs."""
        if self.config.compat:
            return -earlier_cka(x, y, center=self.config.center)
        if self.config.debiased:
            return -debiased_linear_cka(x, y)
        return -linear_cka(x, y, center=self.config.center)
