"""Preparation of features before they are compared: outlier clamp, then row normalisation.

Axis letters: n samples, d features, L layers.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp_registry.errors import UsageError

__all__ = ["Clamp", "clamp_threshold", "prepare_features", "varies"]

Clamp = Literal["quantile", "quantile-exact"]
_EPSILON = 1e-12
_ROWS_AT_ONCE = 128
_ROUNDINGS = 8


def prepare_features(
    layers: Sequence[Float[Tensor, "n _"]],
    clamp: Clamp | None = None,
    normalize: bool = True,
    quantile: float = 0.95,
    per_layer: bool = False,
) -> list[Float[Tensor, "n _"]]:
    """Clamp every value to [-t, t], then scale each row to unit L2 norm.

    Layers of equal width share one threshold t, as in the published protocol (Huh et al. 2024); layers of unequal
    widths get one each. Rows of zeros stay zero.

    Args:
        layers: The layers of one model.
        clamp: ``quantile``: t is the mean over samples of the sample's own quantile of absolute values.
            ``quantile-exact``: t is the order statistic int(q * size) of all absolute values. None: no clamp.
        normalize: Whether rows are L2-normalised (after the clamp).
        quantile: q; 1 means no clamp.
        per_layer: One threshold per layer, whatever the widths.

    Returns:
        Layers in at least float32.

    Raises:
        UsageError: ``clamp`` or ``quantile`` is not one of the allowed values.
    """
    if clamp not in (None, "quantile", "quantile-exact"):
        raise UsageError(f"clamp={clamp!r} is unknown", "use 'quantile', 'quantile-exact' or None")
    if not 0 < quantile <= 1:
        raise UsageError(f"quantile={quantile!r} is outside (0, 1]", "0.95 is the published choice")
    prepared = [layer if layer.dtype == torch.float64 else layer.float() for layer in layers]
    if clamp is not None and quantile < 1:
        shared = not per_layer and len({layer.shape[1] for layer in prepared}) == 1
        groups = [prepared] if shared else [[layer] for layer in prepared]
        prepared = [layer for group in groups for layer in _clamped(group, clamp, quantile)]
    if normalize:
        prepared = [torch.nn.functional.normalize(layer, dim=1, eps=_EPSILON) for layer in prepared]
    return prepared


def varies(layer: Float[Tensor, "n d"]) -> bool:
    """Whether samples differ in any feature by more than rounding: 8 units in the last place of its largest value."""
    high, low = layer.amax(dim=0), layer.amin(dim=0)
    rounding = _ROUNDINGS * torch.finfo(layer.dtype).eps * torch.maximum(high.abs(), low.abs())
    return bool((high - low > rounding).any())


def clamp_threshold(group: Sequence[Float[Tensor, "n _"]], quantile: float = 0.95, exact: bool = False) -> float:
    """Threshold of the outlier clamp for layers that share one, in units of the features.

    Not exact: mean over samples of the linearly interpolated quantile of the sample's absolute values over all layers.
    Exact: element number int(q * size) of all absolute values in ascending order.
    """
    if exact:
        values = torch.cat([layer.abs().flatten() for layer in group])
        index = min(int(quantile * values.numel()), values.numel() - 1)
        return float(values.kthvalue(index + 1).values)
    blocks = zip(*(layer.split(_ROWS_AT_ONCE) for layer in group), strict=True)
    per_sample = [_row_quantiles(torch.cat(block, dim=1).abs(), quantile) for block in blocks]
    return float(torch.cat(per_sample).mean())


def _row_quantiles(rows: Float[Tensor, "r w"], quantile: float) -> Float[Tensor, " r"]:
    """Linearly interpolated quantile of each row, by selection (`torch.quantile` sorts, and refuses large inputs)."""
    position = float(torch.tensor(quantile, dtype=rows.dtype)) * (rows.shape[1] - 1)  # q is rounded as the features are
    below = int(position)
    n_top = rows.shape[1] - below
    top = rows.topk(n_top, dim=1).values
    low, high = top[:, -1], top[:, -2] if n_top > 1 else top[:, -1]
    return torch.lerp(low, high, position - below)


def _clamped(group: Sequence[Tensor], clamp: Clamp, quantile: float) -> list[Tensor]:
    threshold = clamp_threshold(group, quantile, exact=clamp == "quantile-exact")
    return [layer.clamp(-threshold, threshold) for layer in group]
