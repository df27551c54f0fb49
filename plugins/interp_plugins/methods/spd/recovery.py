"""How well components recover the columns of a known weight matrix.

With W the embedding matrix (features by hidden here, so a row per feature): component c says of feature j the vector
``V_jc U_c``. MMCS is the mean over features of the best cosine with W's own vector, ML2R the mean ratio of lengths of that
best component (Bushnaq, Braun and Sharkey 2025).

A dead component has an arbitrary direction and may win the cosine by chance with almost no length; the ``live`` variant
only lets components compete that have at least 1 % of the column's length.

Axis letters: ``r`` optional leading run dimensions, ``f`` features, ``h`` hidden, ``c`` components.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Recovery", "recover"]

_EPS = 1e-12
_LIVE = 0.01


@dataclass(frozen=True)
class Recovery:
    """Agreement of components with the columns of a matrix.

    Attributes:
        cosine: Best cosine of each feature, in [-1, 1].
        length_ratio: Length of that component over the column's length, >= 0.
        component: Index of that component.
    """

    cosine: Float[Tensor, "*r f"]
    length_ratio: Float[Tensor, "*r f"]
    component: Tensor

    @property
    def mmcs(self) -> Float[Tensor, "*r"]:
        """Mean of the best cosines; 1 for perfect directions."""
        return self.cosine.mean(-1)

    @property
    def ml2r(self) -> Float[Tensor, "*r"]:
        """Mean ratio of lengths; 1 for perfect lengths."""
        return self.length_ratio.mean(-1)


def recover(
    weight: Float[Tensor, "*r f h"], v: Float[Tensor, "*r f c"], u: Float[Tensor, "*r c h"], *, live_only: bool = False
) -> Recovery:
    """Find each feature's best component.

    Args:
        weight: Embedding matrix, a row per feature.
        v: Input directions.
        u: Output directions.
        live_only: Leave components out whose part of a feature is shorter than 1 % of the column.
    """
    dots = v * (weight @ u.mT)  # <V_jc U_c, W_j>
    lengths = v.abs() * u.norm(dim=-1).unsqueeze(-2)
    columns = weight.norm(dim=-1, keepdim=True)
    cosine = dots / (lengths * columns).clamp_min(_EPS)
    if live_only:
        cosine = cosine.masked_fill(lengths < _LIVE * columns, -1.0)
    best, component = cosine.max(-1)
    ratio = torch.gather(lengths, -1, component.unsqueeze(-1)) / columns.clamp_min(_EPS)
    return Recovery(best, ratio.squeeze(-1), component)
