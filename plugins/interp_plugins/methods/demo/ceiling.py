"""What alignment could reach at most: the scene itself against a perfect reading of its captions.

Axis letters: n scenes, d dimensions.
"""

import re
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.embedded.world import Scenes, tables
from interp_plugins.metrics.config import MutualKnnConfig
from interp_plugins.metrics.knn import MutualKnn
from interp_plugins.metrics.preparation import prepare_features

__all__ = ["ceiling", "scene_oracle", "semantic_reading"]

_TIE_NOISE = 1e-4
_CONCEPTS = (
    *tables.THEME_PHRASES,
    *tables.COLOUR_WORDS,
    *tables.SHAPE_WORDS,
    *tables.TEXTURE_WORDS,
    *tables.SIZE_WORDS,
    *tables.RELATION_WORDS,
)


def ceiling(scenes: Scenes, texts: Sequence[str], topk: int) -> float:
    """Mutual k-NN, in [0, 1], of the scene oracle and the semantic reading of one text per scene."""
    metric = MutualKnn(MutualKnnConfig(topk=topk))
    states = [
        metric.prepare(prepare_features([_untied(side)])) for side in (scene_oracle(scenes), semantic_reading(texts))
    ]
    return float(metric.score_pairs(states[0], states[1]).max())


def scene_oracle(scenes: Scenes) -> Float[Tensor, "n d"]:
    """A scene in numbers: what it is about and what is in it, as a perfect eye would count it.

    One-hot theme (weight 1.5) and number of objects; counts over the objects of colours, shapes, and, at weight 0.5, textures, sizes
    and cells.
    """
    present = np.arange(tables.MAX_OBJECTS)[None, :] < scenes.count[:, None]

    def counts(values: np.ndarray, n: int) -> np.ndarray:
        return ((values[:, :, None] == np.arange(n)) & present[:, :, None]).sum(axis=1)

    parts = [
        1.5 * (scenes.theme[:, None] == np.arange(len(tables.THEMES))),
        scenes.count[:, None] == np.arange(1, tables.MAX_OBJECTS + 1),
        counts(scenes.colour, len(tables.COLOURS)),
        counts(scenes.shape, len(tables.SHAPES)),
        0.5 * counts(scenes.texture, len(tables.TEXTURES)),
        0.5 * counts(scenes.size, len(tables.SIZES)),
        0.5 * counts(scenes.cell, 9),
    ]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))


def semantic_reading(texts: Sequence[str]) -> Float[Tensor, "n d"]:
    """How often each text mentions each of the 42 concepts, synonyms counted as their concept, the longest phrase first."""
    owner = {phrase: i for i, phrases in enumerate(_CONCEPTS) for phrase in phrases}
    longest_first = sorted(owner, key=len, reverse=True)
    pattern = re.compile("|".join(rf"\b{re.escape(phrase)}\b" for phrase in longest_first))
    counts = torch.zeros(len(texts), len(_CONCEPTS))
    for row, text in enumerate(texts):
        for phrase in pattern.findall(text):
            counts[row, owner[phrase]] += 1
    return counts


def _untied(features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Features with a little noise, so that equal scenes have no tied neighbours."""
    generator = torch.Generator().manual_seed(0)
    return features + _TIE_NOISE * torch.randn(features.shape, generator=generator)
