"""Patches and words of a data set as nodes; special tokens and padding are left out.

Axis letters: p patches of all samples, v words of all samples, e joint embedding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from interp_plugins.models.image_text.nodes import EmbedsNodes
from interp_registry.contracts.data import CaptionedImage, Dataset, QuadSample
from interp_registry.errors import DataError, UsageError

__all__ = ["CorpusNodes", "collect_nodes", "image_caption_pairs"]


@dataclass(frozen=True)
class CorpusNodes:
    """All nodes of a data set.

    Attributes:
        patches: Unit embeddings, the patches of each sample in reading order.
        patch_owner: Sample of each patch.
        words: Unit embeddings.
        word_owner: Sample of each word.
        names: Text of each word.
        grid: Rows and columns of patches.
        images: The images.
        captions: The captions.
    """

    patches: Float[Tensor, "p e"]
    patch_owner: Int[Tensor, "p"]
    words: Float[Tensor, "v e"]
    word_owner: Int[Tensor, "v"]
    names: tuple[str, ...]
    grid: tuple[int, int]
    images: tuple[Any, ...]
    captions: tuple[str, ...]

    def centred(self) -> "CorpusNodes":
        """The same nodes with the mean of each modality taken away, brought back to unit length."""
        patches, words = (x - x.mean(dim=0, keepdim=True) for x in (self.patches, self.words))
        return replace(self, patches=functional.normalize(patches, dim=1), words=functional.normalize(words, dim=1))


def image_caption_pairs(dataset: Dataset) -> Iterator[tuple[Any, str]]:
    """Images with one caption each: the first of several, or both pairs of a quad.

    Raises:
        UsageError: The samples are no images with captions.
    """
    for sample in dataset:
        if isinstance(sample, QuadSample):
            yield from zip(sample.images, sample.captions, strict=True)
        elif isinstance(sample, CaptionedImage):
            yield sample.image, sample.captions[0]
        else:
            raise UsageError(
                f"{dataset.name!r} has samples of type {type(sample).__name__}",
                "cuts take images with captions, or quads",
            )


def collect_nodes(model: EmbedsNodes, dataset: Dataset) -> CorpusNodes:
    """Embed the patches and words of all samples.

    Raises:
        UsageError: The samples are no images with captions.
        DataError: An embedding is not finite.
    """
    images, captions = zip(*image_caption_pairs(dataset), strict=True)
    patch_nodes, word_nodes = model.embed_patches(images), model.embed_words(captions)
    for kind, values in (("patches", patch_nodes.embeddings), ("words", word_nodes.embeddings[word_nodes.mask])):
        if not values.isfinite().all():
            raise DataError(
                f"embeddings of {kind} are not finite", "look for NaN in the model's weights, or for an overflow"
            )
    b, h, e = patch_nodes.embeddings.shape
    return CorpusNodes(
        patches=patch_nodes.embeddings.reshape(b * h, e),
        patch_owner=torch.arange(b).repeat_interleave(h),
        words=word_nodes.embeddings[word_nodes.mask],
        word_owner=torch.arange(b).repeat_interleave(word_nodes.mask.sum(dim=1)),
        names=tuple(word for words in word_nodes.words for word in words),
        grid=patch_nodes.grid,
        images=images,
        captions=captions,
    )
