"""Where numbers need more than a device has: Apple's MPS has no float64, and decompositions in its newest versions only.

Sums of scores and statistics are in float64 everywhere in this tool. They are moved to the CPU rather than computed in less precision, so
that a device without float64 gives the scores of the CPU.
"""

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

__all__ = ["precise_device", "to_float64"]

_IMPRECISE = frozenset({"mps"})


def precise_device(device: torch.device | str) -> torch.device:
    """Where to compute in float64, and to decompose matrices, that lie on a device: there, or on the CPU where it cannot."""
    wanted = torch.device(device)
    return torch.device("cpu") if wanted.type in _IMPRECISE else wanted


def to_float64(x: Shaped[Tensor, "*n"]) -> Float64[Tensor, "*n"]:
    """The values in float64, on the `precise_device` of where they are; differentiable."""
    return x.to(precise_device(x.device)).double()
