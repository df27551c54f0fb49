"""Symmetric contrastive loss.

Axis letters: n pairs, d features.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from interp_plugins.losses.config import InfoNceLoss
from interp_plugins.losses.rows import check_pair, full_precision, raise_precision, unit_rows

__all__ = ["InfoNce", "info_nce"]


@full_precision
def info_nce(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], scale: float | Tensor = 1 / 0.07, *, normalize: bool = True
) -> Float[Tensor, ""]:
    r"""Symmetric cross-entropy of the pairs within the batch, in nats; at least 0, about ln n by chance.

    With :math:`S = s X Y^\top`: the mean over i of
    :math:`-\tfrac12[\log\mathrm{softmax}(S_{i\cdot})_i + \log\mathrm{softmax}(S_{\cdot i})_i]`
    (van den Oord et al. 2018; Radford et al. 2021, figure 3).

    Args:
        x: One side, a row per pair.
        y: The other side.
        scale: The factor s, a number or a trained scalar.
        normalize: Bring rows to unit length first.

    Raises:
        DataError: The sides do not match.
    """
    check_pair(x, y)
    x, y = raise_precision(x), raise_precision(y)
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    similarity = scale * (x @ y.T)
    target = torch.arange(x.shape[0], device=x.device)
    return (functional.cross_entropy(similarity, target) + functional.cross_entropy(similarity.T, target)) / 2


class InfoNce:
    """`info_nce` with a configuration."""

    def __init__(self, config: InfoNceLoss) -> None:
        self.config = config

    def __call__(
        self, x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], scale: Tensor | None = None
    ) -> Float[Tensor, ""]:
        """The loss; ``scale`` (a trained logit scale) goes before the configured one."""
        factor = self.config.scale if scale is None else scale
        return info_nce(x, y, factor, normalize=self.config.normalize)
