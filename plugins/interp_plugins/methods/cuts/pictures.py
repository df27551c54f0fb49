"""Cuts as pictures: eigenvectors as colours, clusters laid over images.

Axis letters: p patches, q eigenvectors, r and c rows and columns of patches.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["COLOUR_NAMES", "PALETTE", "eigenvector_colours", "overlay"]

PALETTE = np.array(
    [
        [31, 119, 180], [255, 127, 14], [44, 160, 44], [214, 39, 40], [148, 103, 189], [140, 86, 75],
        [227, 119, 194], [127, 127, 127], [188, 189, 34], [23, 190, 207], [255, 187, 120], [152, 223, 138],
    ],
    dtype=np.float64,
)  # fmt: skip
"""Colours of clusters 0 .. 11; later clusters begin again."""

COLOUR_NAMES = (
    "blue", "orange", "green", "red", "purple", "brown", "pink", "grey", "olive", "cyan", "light orange", "light green",
)  # fmt: skip


def eigenvector_colours(vectors: Float[Tensor, "p q"], low: float = 0.01, high: float = 0.99) -> Float[Tensor, "p 3"]:
    """The first three eigenvectors as red, green and blue in [0, 1], each stretched between two quantiles over the whole corpus.

    One scale for all images: the same colour means the same place in the embedding. Fewer than three are padded with zeros.
    """
    chosen = vectors[:, :3].double()
    ends = torch.stack([_quantile(chosen, low), _quantile(chosen, high)])
    stretched = ((chosen - ends[0]) / (ends[1] - ends[0]).clamp_min(1e-12)).clamp(0, 1)
    return torch.nn.functional.pad(stretched, (0, 3 - stretched.shape[1]))


def _quantile(vectors: Float[Tensor, "p q"], share: float) -> Float[Tensor, "q"]:
    ascending = vectors.sort(dim=0).values
    return ascending[round(share * (len(vectors) - 1))]


def overlay(image: Any, labels: Int[Tensor, "p"], grid: tuple[int, int], opacity: float = 0.5) -> NDArray[np.uint8]:
    """The image with each patch tinted by the colour of its cluster.

    Args:
        image: A PIL image.
        labels: Clusters of its patches in reading order.
        grid: Rows and columns of patches.
        opacity: Weight of the tint, in [0, 1].
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
    tint = _stretched(PALETTE[labels.numpy() % len(PALETTE)].reshape(*grid, 3), pixels.shape[:2])
    return np.clip((1 - opacity) * pixels + opacity * tint + 0.5, 0, 255).astype(np.uint8)


def patch_picture(colours: Float[Tensor, "p 3"], grid: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Patches as blocks of colour, stretched to ``size`` (rows, columns)."""
    blocks = 255 * colours.double().numpy().reshape(*grid, 3)
    return np.clip(_stretched(blocks, size) + 0.5, 0, 255).astype(np.uint8)


def _stretched(blocks: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    rows = np.arange(size[0]) * blocks.shape[0] // size[0]
    columns = np.arange(size[1]) * blocks.shape[1] // size[1]
    return blocks[rows][:, columns]
