"""Models without texts: image towers of timm and Hugging Face, for the linear probe.

Axis letters: n images, d width of the final representation.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.bench.embeddings import JointModel
from interp_plugins.models.image_text.config import ImageTextOptions
from interp_plugins.models.image_text.loading import load_image_text, options_of, weights_digest
from interp_plugins.models.resolve import resolve_model
from interp_registry.errors import UsageError
from interp_registry.tensors.pooling import PoolPlan, as_tokens, pool_tokens

__all__ = ["ImageOnlyModel", "load_bench_model"]


class ImageOnlyModel:
    """An image tower as the benchmarks see it: the final representation, pooled; no texts.

    timm's networks pool as they do before their classifier; others take the class token, or the mean where there is none.

    Args:
        model: A vision model with its preprocessing.
        name: The name it was loaded by.
        batch_size: Images in one forward pass.
    """

    def __init__(self, model: Any, name: str, batch_size: int = 64) -> None:
        self.name, self.batch_size, self._model = name, batch_size, model
        self.revision = weights_digest(model.module)

    @torch.no_grad()
    def embed_images(self, images: Sequence[Any]) -> Float[Tensor, "n d"]:
        """Pooled final representations on the CPU in float32; not of unit length."""
        parts = [images[i : i + self.batch_size] for i in range(0, len(images), self.batch_size)]
        return torch.cat([self._embedded(part) for part in parts])

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Refused.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"{self.name!r} reads images only, and {len(texts)} texts were given",
            "it takes part in linear probes of labelled images: --suite linear-probe",
        )

    def _embedded(self, images: Sequence[Any]) -> Float[Tensor, "n d"]:
        batch = self._model.collate(self._model.preprocess(images)).to(self._model.device)
        hidden, info = self._model.forward(batch).last_hidden, self._model.info
        if hasattr(self._model.module, "forward_head"):
            return self._model.module.forward_head(hidden, pre_logits=True).float().cpu()
        pooling = "cls" if info.n_prefix_tokens else "avg"
        return pool_tokens(as_tokens(hidden, spatial=info.spatial), pooling, PoolPlan()).float().cpu()


def load_bench_model(name: str, options: ImageTextOptions, device: str) -> JointModel:
    """A CLIP or SigLIP, or a vision model of timm or Hugging Face, ready to be scored.

    Raises:
        OfflineError: The files are not here and cannot be fetched.
        UsageError: The model reads no images.
    """
    found = resolve_model(name, options_of(options, device))
    if found.modality == "vision":
        return ImageOnlyModel(found.load(), name, options.batch_size)
    return load_image_text(name, options, device)
