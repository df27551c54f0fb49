"""Patches and words in the joint space of an image-text model.

Axis letters: b samples, h patches, w words, e joint embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["EmbedsNodes", "PatchNodes", "WordNodes"]


@dataclass(frozen=True)
class PatchNodes:
    """Embeddings of image patches; class tokens are left out.

    Attributes:
        embeddings: Unit rows.
        grid: Rows and columns of patches; h is their product.
    """

    embeddings: Float[Tensor, "b h e"]
    grid: tuple[int, int]


@dataclass(frozen=True)
class WordNodes:
    """Embeddings of words (the mean of their tokens); tokens of beginning, end and padding are left out.

    Attributes:
        embeddings: Unit rows; rows beyond a text's words are zero.
        mask: True at words.
        words: The words of each text.
    """

    embeddings: Float[Tensor, "b w e"]
    mask: Bool[Tensor, "b w"]
    words: tuple[tuple[str, ...], ...]


@runtime_checkable
class EmbedsNodes(Protocol):
    """A model of two towers that can also embed patches and words in the joint space."""

    def embed_patches(self, images: Sequence[Any]) -> PatchNodes:
        """Embed the patches of images."""
        ...

    def embed_words(self, texts: Sequence[str]) -> WordNodes:
        """Embed the words of texts."""
        ...
