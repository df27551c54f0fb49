"""What the supervised vision models are asked: labels of the scene, never of a caption.

Axis letters: n scenes, 50 labels, 64 patches (8 x 8, row by row).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.embedded.world import Scenes, tables
from interp_plugins.embedded.zoo.recipes import PATCH_SIZE

N_LABELS = 50
N_PATCH_CLASSES = 11
"""Background, then the ten colours or shapes."""


@dataclass(frozen=True)
class SceneLabels:
    """The targets of n scenes."""

    scene: Float[Tensor, "n 50"]
    """[n, 50] theme 12, count 3 (one-hot); colours 10, shapes 10, textures 4, sizes 2, cells 9 (present or not)."""
    patch_colour: Int[Tensor, "n 64"]
    """[n, 64] 0 background, 1 ... 10 colours."""
    patch_shape: Int[Tensor, "n 64"]
    """[n, 64] 0 background, 1 ... 10 shapes."""

    def take(self, rows: np.ndarray) -> "SceneLabels":
        """The labels of these scenes."""
        return SceneLabels(self.scene[rows], self.patch_colour[rows], self.patch_shape[rows])

    @classmethod
    def concatenate(cls, parts: "list[SceneLabels]") -> "SceneLabels":
        """The labels of all parts, one part after the other."""
        return cls(
            scene=torch.cat([part.scene for part in parts]),
            patch_colour=torch.cat([part.patch_colour for part in parts]),
            patch_shape=torch.cat([part.patch_shape for part in parts]),
        )


def scene_labels(scenes: Scenes) -> SceneLabels:
    """All labels of the scenes."""
    present = np.arange(tables.MAX_OBJECTS) < scenes.count[:, None]
    parts = [
        _one_hot(scenes.theme, len(tables.THEMES)),
        _one_hot(scenes.count - 1, tables.MAX_OBJECTS),
        *(
            _occurs(values, present, n_values)
            for values, n_values in (
                (scenes.colour, len(tables.COLOURS)),
                (scenes.shape, len(tables.SHAPES)),
                (scenes.texture, len(tables.TEXTURES)),
                (scenes.size, len(tables.SIZES)),
                (scenes.cell, 9),
            )
        ),
    ]
    colour, shape = _patch_labels(scenes, present)
    return SceneLabels(
        torch.from_numpy(np.concatenate(parts, axis=1)), torch.from_numpy(colour), torch.from_numpy(shape)
    )


def _one_hot(values: np.ndarray, n_values: int) -> np.ndarray:
    return np.eye(n_values, dtype=np.float32)[values]


def _occurs(values: np.ndarray, present: np.ndarray, n_values: int) -> np.ndarray:
    """[n, n_values] whether any present object has the value."""
    return (_one_hot(values, n_values) * present[..., None]).max(axis=1)


def _patch_labels(scenes: Scenes, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour and shape under each patch, [n, 64] each; a later object overwrites an earlier one.

    A patch belongs to an object when its centre is nearer than .9 R + 1 pixels on both axes.
    """
    n_side = tables.PICTURE_SIZE // PATCH_SIZE
    patch = PATCH_SIZE * np.arange(n_side) + PATCH_SIZE // 2
    centres = scenes.centres()
    reach = 0.9 * np.array(tables.RADII)[scenes.size] + 1
    colour = np.zeros((len(scenes), n_side, n_side), dtype=np.int64)
    shape = np.zeros_like(colour)
    for k in range(tables.MAX_OBJECTS):
        near = np.abs(patch - centres[:, k, :, None]) < reach[:, k, None, None]
        mask = near[:, 1, :, None] & near[:, 0, None, :] & present[:, k, None, None]
        colour = np.where(mask, scenes.colour[:, k, None, None] + 1, colour)
        shape = np.where(mask, scenes.shape[:, k, None, None] + 1, shape)
    return colour.reshape(len(scenes), -1), shape.reshape(len(scenes), -1)
