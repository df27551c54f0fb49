"""CLIP and SigLIP of transformers as models of two towers.

Axis letters: b samples, t tokens, h patches, w words, d width of a tower, e joint embedding.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional

from interp_plugins.models.image_text.nodes import PatchNodes, WordNodes
from interp_plugins.models.image_text.words import group_tokens, mean_of_groups
from interp_registry.errors import DataError

__all__ = ["ImageTextModel"]

Inputs = dict[str, Tensor]


class ImageTextModel:
    """Embeds texts, images, words and patches in one space.

    Args:
        module: A CLIPModel or SiglipModel.
        tokenizer: Its tokenizer.
        image_processor: Its image processor.
        name: The name it was loaded by.
        revision: Digest of the weights.
        batch_size: Samples in one forward pass.
    """

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        image_processor: Any,
        *,
        name: str,
        revision: str,
        batch_size: int = 64,
    ) -> None:
        self.module, self.tokenizer, self.image_processor = module, tokenizer, image_processor
        self.family: str = module.config.model_type
        self.batch_size = batch_size
        self.name, self.revision = name, revision

    @property
    def device(self) -> torch.device:
        """Where inputs have to be."""
        return next(iter(self.module.parameters())).device

    @property
    def n_params(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def context_length(self) -> int:
        """Number of tokens that a text is cut to."""
        return self.module.config.text_config.max_position_embeddings

    @property
    def logit_scale(self) -> float:
        """Factor between cosine similarities and logits."""
        return self.module.logit_scale.exp().item()

    def text_inputs(self, texts: Sequence[str]) -> Inputs:
        """Token ids and mask of texts, cut to the context length and padded on the right.

        Raises:
            DataError: There are no texts, or one is empty.
        """
        if not texts or not all(isinstance(text, str) and text.strip() for text in cast("Sequence[object]", texts)):
            raise DataError("a text is empty or not a string", "leave it out")
        padding = "max_length" if self.family == "siglip" else "longest"
        encoded = self.tokenizer(
            list(texts), padding=padding, truncation=True, max_length=self.context_length, return_tensors="pt"
        )
        names = ("input_ids",) if self.family == "siglip" else ("input_ids", "attention_mask")
        return {name: encoded[name] for name in names}

    def image_inputs(self, images: Sequence[Image]) -> Inputs:
        """Pixels of images as the model wants them."""
        pictures = [image.convert("RGB") for image in images]
        return {"pixel_values": self.image_processor(images=pictures, return_tensors="pt")["pixel_values"]}

    def encode_text_inputs(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "b e"]:
        """Joint embeddings of tokenised texts, of unit length; differentiable."""
        return functional.normalize(_pooled(self.module.get_text_features(**self._moved(inputs))), dim=-1)

    def encode_image_inputs(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "b e"]:
        """Joint embeddings of pixels, of unit length; differentiable."""
        return functional.normalize(_pooled(self.module.get_image_features(**self._moved(inputs))), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "b e"]:
        """Joint embeddings of texts, of unit length, on the CPU in float32."""
        return self._in_batches(texts, lambda part: self.encode_text_inputs(self.text_inputs(part)))

    def embed_images(self, images: Sequence[Image]) -> Float[Tensor, "b e"]:
        """Joint embeddings of images, of unit length, on the CPU in float32."""
        return self._in_batches(images, lambda part: self.encode_image_inputs(self.image_inputs(part)))

    def embed_patches(self, images: Sequence[Image]) -> PatchNodes:
        """Patches through the last norm and the projection that the pooled image goes through, of unit length.

        CLIP: post-layernorm and visual projection, as for the class token. SigLIP: what its pooling head would give
            if it attended to that patch alone.
        """
        embeddings = self._in_batches(images, lambda part: self._project_patches(self.image_inputs(part)))
        side = round(math.sqrt(embeddings.shape[1]))
        if side * side != embeddings.shape[1]:
            raise DataError(f"{embeddings.shape[1]} patches are no square grid", "this model resizes images unevenly")
        return PatchNodes(embeddings, (side, side))

    def embed_words(self, texts: Sequence[str]) -> WordNodes:
        """Words through the last norm and the projection that the pooled text goes through, of unit length."""
        parts = [self._project_words(texts[i : i + self.batch_size]) for i in range(0, len(texts), self.batch_size)]
        vectors = [vector for part, _ in parts for vector in part]
        words = tuple(names for _, part in parts for names in part)
        mask = torch.zeros(len(texts), max(len(names) for names in words), dtype=torch.bool)
        embeddings = torch.zeros(*mask.shape, vectors[0].shape[-1])
        for row, vector in enumerate(vectors):
            embeddings[row, : len(vector)], mask[row, : len(vector)] = vector, True
        return WordNodes(embeddings, mask, words)

    @property
    def _n_prefix(self) -> int:
        return 1 if self.family == "clip" else 0

    def _project_patches(self, inputs: Inputs) -> Float[Tensor, "b h e"]:
        vision = self.module.vision_model
        hidden = vision(**self._moved(inputs)).last_hidden_state[:, self._n_prefix :]
        if self.family == "clip":
            return functional.normalize(self.module.visual_projection(vision.post_layernorm(hidden)), dim=-1)
        b, h, d = hidden.shape
        return functional.normalize(vision.head(hidden.reshape(b * h, 1, d)).reshape(b, h, d), dim=-1)

    @torch.no_grad()
    def _project_words(self, texts: Sequence[str]) -> tuple[list[Tensor], list[tuple[str, ...]]]:
        inputs = self.text_inputs(texts)
        hidden = self.module.text_model(**self._moved(inputs)).last_hidden_state
        head = self.module.text_projection if self.family == "clip" else self.module.text_model.head
        projected = functional.normalize(head(hidden), dim=-1).float().cpu()
        groups = group_tokens(self.tokenizer, texts, inputs["input_ids"])
        return [mean_of_groups(row, group) for row, group in zip(projected, groups, strict=True)], [
            tuple(word for word, _ in group) for group in groups
        ]

    @torch.no_grad()
    def _in_batches(self, samples: Sequence[Any], encode: Callable[[Sequence[Any]], Tensor]) -> Tensor:
        if not samples:
            raise DataError("there is nothing to embed", "the data set is empty")
        starts = range(0, len(samples), self.batch_size)
        return torch.cat([encode(samples[i : i + self.batch_size]).float().cpu() for i in starts])

    def _moved(self, inputs: Mapping[str, Tensor]) -> Inputs:
        dtype = next(iter(self.module.parameters())).dtype
        return {
            name: value.to(self.device, dtype if value.is_floating_point() else value.dtype)
            for name, value in inputs.items()
        }


def _pooled(output: Any) -> Tensor:
    """Projected features: transformers 5 returns an output object, version 4 the tensor itself."""
    return output if isinstance(output, Tensor) else output.pooler_output
