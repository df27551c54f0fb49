"""Row operations that the alignment losses share: checks, precision, unit length, centring.

Axis letters: n rows (pairs), d and e features of the two sides.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from interp_registry.errors import DataError

__all__ = ["center_columns", "check_pair", "full_precision", "raise_precision", "unit_rows"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def full_precision(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function outside of automatic mixed precision, which would take its matrix products to half precision again."""

    @functools.wraps(function)
    def compute(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        given = (*args, *kwargs.values())
        device = next((arg.device.type for arg in given if isinstance(arg, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return compute


def raise_precision(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The same values in float32 or better: decompositions do not exist in half precision."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def check_pair(x: Float[Tensor, "n d"], y: Float[Tensor, "n e"], n_min: int = 1) -> None:
    """Check that both sides are matrices with one row per pair.

    Raises:
        DataError: Wrong number of axes, different numbers of rows, or fewer than ``n_min`` rows.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
        raise DataError(
            f"got {list(x.shape)} and {list(y.shape)}, expected two matrices with the same number of rows",
            "row i of both must describe the same pair",
        )
    if x.shape[0] < n_min:
        raise DataError(f"got {x.shape[0]} pairs, this loss needs at least {n_min}")


def unit_rows(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows divided by their Euclidean length; a row of zeros stays zero."""
    return x / x.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)


def center_columns(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Columns minus their means."""
    return x - x.mean(dim=0, keepdim=True)
