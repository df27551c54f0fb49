"""Reading and checking what is to be aligned.

Axis letters: n samples, d features, L layers.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import xxhash
from jaxtyping import Float
from torch import Tensor

from interp_plugins.metrics.preparation import varies
from interp_registry.errors import DataError
from interp_registry.tensors.precision import precise_device

__all__ = [
    "Features",
    "as_layers",
    "check_layers",
    "check_prepared",
    "check_same_samples",
    "group_samples",
    "repeated_samples",
]

Features: TypeAlias = "np.ndarray | Tensor | Sequence[np.ndarray | Tensor]"
"""A list of ``[n, d]`` matrices, one per layer, or one array ``[n, layers, d]`` (or ``[n, d]``: a single layer)."""

_SMALLEST = 3
_LARGEST = 1e12


def as_layers(
    features: Features, side: str = "x", device: str | torch.device | None = None
) -> list[Float[Tensor, "n _"]]:
    """The layers of one model as float32 or float64 matrices.

    Args:
        features: What the caller gave, see `Features`. Half precision is converted to float32.
        side: How to call it in messages.
        device: Where to put the tensors; None leaves them where they are. Scores need float64: they go to the CPU where a device
            has none (Apple's MPS).

    Raises:
        DataError: Wrong number of axes, no layers, too few samples, values that are not finite or do not vary.
    """
    features = getattr(features, "features", features)  # what `interp.extract` and `interp.load_features` return
    if isinstance(features, list | tuple):
        layers = [_tensor(layer, f"layer {index} of {side}") for index, layer in enumerate(features)]
        if layers and all(layer.ndim == 1 for layer in layers):
            layers = [torch.stack(layers)]  # one matrix, given as a list of rows
    else:
        layers = _split(_tensor(features, side), side)
    check_layers(layers, side)
    return layers if device is None else [layer.to(precise_device(device)) for layer in layers]


def check_layers(layers: Sequence[Tensor], side: str) -> None:
    """Refuse layers that no metric can compare.

    Raises:
        DataError: See `as_layers`.
    """
    if not layers:
        raise DataError(f"{side} has no layers", "give at least one [n, d] matrix")
    for index, layer in enumerate(layers):
        if layer.ndim != 2:
            raise DataError(
                f"layer {index} of {side} has shape {tuple(layer.shape)}; expected [n, d]",
                "pool over tokens first, or give one array [n, layers, d]",
            )
        _check_values(layer, f"layer {index} of {side}")
    sizes = {layer.shape[0] for layer in layers}
    if len(sizes) > 1:
        raise DataError(
            f"the layers of {side} have different numbers of samples: {sorted(sizes)}", "row i must be sample i"
        )


def check_prepared(layers: Sequence[Tensor], side: str) -> None:
    """Refuse layers of which clamp and normalisation have left nothing but rounding, which metrics would score.

    Raises:
        DataError: Every sample is the same now.
    """
    for index, layer in enumerate(layers):
        if not varies(layer):
            raise DataError(
                f"layer {index} of {side} is constant once its rows are clamped and scaled to unit length",
                "its samples differ in length only: compare with --no-normalize, or leave that layer out",
            )


def check_same_samples(x: Sequence[Tensor], y: Sequence[Tensor]) -> None:
    """Refuse two models that were not shown the same samples.

    Raises:
        DataError: The numbers of samples differ.
    """
    if x[0].shape[0] != y[0].shape[0]:
        raise DataError(
            f"x has {x[0].shape[0]} samples and y has {y[0].shape[0]}",
            "row i of both must be the same sample: extract both from the same data set",
        )


def group_samples(
    ids_x: Sequence[object] | None, ids_y: Sequence[object] | None, x: Sequence[Tensor], y: Sequence[Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    """Which sample each row belongs to, where rows are named; samples are numbered in the order of x.

    Rows of one side that have the same name belong to one sample. A side without names has one row per sample.

    Raises:
        DataError: Names do not fit the rows, or the two sides do not have the same samples.
    """
    if ids_x is None and ids_y is None:
        return None, None
    for ids, layers, side in ((ids_x, x, "x"), (ids_y, y, "y")):
        if ids is not None and len(ids) != layers[0].shape[0]:
            raise DataError(
                f"{side} has {layers[0].shape[0]} rows and {len(ids)} names", f"give one name per row of {side}"
            )
    names_x, names_y = _names(ids_x, ids_y, x, "x"), _names(ids_y, ids_x, y, "y")
    number = {name: index for index, name in enumerate(dict.fromkeys(names_x))}
    strange = [name for name in names_y if name not in number]
    lacking = set(number) - set(names_y)
    if strange or lacking:
        example = strange[0] if strange else next(iter(lacking))
        raise DataError(
            f"x and y do not have the same samples: {example!r} is in {'y' if strange else 'x'} only",
            "both sides need every sample, in any number of rows",
        )
    return torch.tensor([number[name] for name in names_x]), torch.tensor([number[name] for name in names_y])


def repeated_samples(layers: Sequence[Float[Tensor, "n _"]]) -> int:
    """Number of samples that equal an earlier one, to the last bit, in every one of these layers (one of each model).

    Such samples were given twice: each is the other's nearest neighbour in every model, whatever the models have learnt.
    """
    rows = zip(*(np.ascontiguousarray(layer.cpu().numpy()) for layer in layers), strict=True)
    return layers[0].shape[0] - len(
        {xxhash.xxh3_128_digest(b"".join(row.tobytes() for row in of_all)) for of_all in rows}
    )


def _names(
    ids: Sequence[object] | None, other: Sequence[object] | None, layers: Sequence[Tensor], side: str
) -> list[object]:
    """Names of the rows; a side without any has the samples of the other side, in order."""
    if ids is not None:
        return list(ids)
    names = list(dict.fromkeys(other or ()))
    if len(names) != layers[0].shape[0]:
        raise DataError(
            f"{side} has {layers[0].shape[0]} rows, and the other side names {len(names)} samples",
            f"without names of its own, {side} needs one row per sample",
        )
    return names


def _tensor(value: Any, name: str) -> Tensor:
    try:
        tensor = (
            torch.as_tensor(value) if isinstance(value, np.ndarray | Tensor) else torch.as_tensor(np.asarray(value))
        )
    except (TypeError, ValueError) as err:
        raise DataError(
            f"{name} is no numeric array ({type(value).__name__}): {err}", "give NumPy arrays or tensors"
        ) from err
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise DataError(f"{name} holds {str(tensor.dtype).removeprefix('torch.')} values", "give real numbers")
    tensor = tensor.detach().to(precise_device(tensor.device))
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def _split(array: Tensor, side: str) -> list[Tensor]:
    if array.ndim == 2:
        return [array]
    if array.ndim != 3:
        raise DataError(
            f"{side} has shape {tuple(array.shape)}; expected [n, d] or [n, layers, d]", "pool over tokens first"
        )
    return [array[:, index].contiguous() for index in range(array.shape[1])]


def _check_values(layer: Tensor, name: str) -> None:
    n, d = layer.shape
    if n < _SMALLEST or d < 1:
        raise DataError(f"{name} has shape [{n}, {d}]", f"at least {_SMALLEST} samples and one feature are needed")
    finite = torch.isfinite(layer)
    if not finite.all():
        rows = (~finite).any(dim=1).nonzero().flatten()
        shown = ", ".join(str(int(row)) for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
        raise DataError(
            f"{name} has values that are not finite in {len(rows)} of {n} rows ({shown})",
            "extract again in a wider dtype, or leave these samples out",
        )
    if not varies(layer):
        raise DataError(f"{name} is constant: every sample has the same values", "leave that layer out")
    largest = float(layer.abs().max())
    if not 1 / _LARGEST < largest < _LARGEST:
        raise DataError(
            f"{name} has values up to {largest:.1g}: sums of their squares leave the range of float32",
            "divide the features by a constant first",
        )
