"""What the zoo's models are measured by: pooled features, losses, retrieval and twins, on the evaluation split.

Axis letters: n items, l layers, d width, t positions, i twin items.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import timm
import torch
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, CLIPModel, LlamaForCausalLM

from interp_plugins.embedded.world import KINDS, captions, join, render, scenes, twins
from interp_plugins.embedded.zoo.language import next_token_loss
from interp_plugins.embedded.zoo.sources import normalised
from interp_plugins.embedded.zoo.tokens import PAD

__all__ = [
    "ClipScores",
    "EvaluationData",
    "LanguageMeasurement",
    "clip_scores",
    "language_measurement",
    "vision_features",
]

_BATCH = 64
_N_RETRIEVAL = 1_000


class EvaluationData:
    """The evaluation split, made once: texts of one to five captions, and normalised pictures.

    Args:
        n_items: how many scenes.
        first: number of the first scene; from 1,024 on lie scenes beyond the split, which nothing was ever chosen by.
    """

    def __init__(self, n_items: int = 1_024, first: int = 0) -> None:
        self.n_items = n_items
        self._first = first
        self._captions = captions("evaluation", first, first + n_items)

    def texts(self, captions_per_item: int) -> list[str]:
        """The first captions of every scene, joined."""
        return [join(of_item[:captions_per_item]) for of_item in self._captions]

    @cached_property
    def pictures(self) -> Float[Tensor, "n 3 64 64"]:
        """Normalised pictures of every scene."""
        return normalised(render(scenes("evaluation", self._first, self._first + self.n_items)))


@dataclass(frozen=True)
class LanguageMeasurement:
    """What one language model makes of some texts."""

    features: Float[Tensor, "n l d"]
    """Mean over real tokens of every hidden state, embeddings first."""
    nats_per_token: float
    """Mean next-token cross-entropy over all real targets."""


@torch.inference_mode()
def language_measurement(folder: Path, texts: list[str]) -> LanguageMeasurement:
    """Pooled hidden states and loss of a language model folder on texts."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    encoded = AutoTokenizer.from_pretrained(folder)(texts)["input_ids"]
    features, total, n_targets = [], 0.0, 0
    for first in range(0, len(texts), _BATCH):
        tokens = pad_sequence([torch.tensor(ids) for ids in encoded[first : first + _BATCH]], True, PAD)
        real = (tokens != PAD)[..., None]
        states = model.model(
            input_ids=tokens, attention_mask=real[..., 0].long(), output_hidden_states=True
        ).hidden_states
        features.append(torch.stack([(state * real).sum(1) / real.sum(1) for state in states], dim=1))
        in_batch = int((tokens[:, 1:] != PAD).sum())
        total += float(next_token_loss(model, tokens)) * in_batch
        n_targets += in_batch
    return LanguageMeasurement(torch.cat(features), total / n_targets)


@torch.inference_mode()
def vision_features(folder: Path, pictures: Float[Tensor, "n 3 64 64"]) -> Float[Tensor, "n l d"]:
    """The class token after each block of a vision model folder, without the final norm."""
    model = cast("VisionTransformer", timm.create_model(f"local-dir:{folder}", pretrained=True)).float().eval()
    features = []
    for batch in pictures.split(_BATCH):
        blocks = model.forward_intermediates(batch, return_prefix_tokens=True, intermediates_only=True, norm=False)
        class_tokens = [prefix[:, 0] for _, prefix in cast("list[tuple[Tensor, Tensor]]", blocks)]
        features.append(torch.stack(class_tokens, dim=1))
    return torch.cat(features)


@dataclass(frozen=True)
class ClipScores:
    """How well a CLIP finds and tells apart, in per cent but for the ranks."""

    text_to_image_recall_1: float
    image_to_text_recall_1: float
    median_rank: float
    """Median rank (from 1) of the right picture among 1,000, given a caption."""
    twins_text: float
    """Items of which each picture prefers its own caption."""
    twins_image: float
    """Items of which each caption prefers its own picture."""
    twins_group: float
    """Both; one item in six by chance."""
    group_by_kind: dict[str, float]


@torch.inference_mode()
def clip_scores(folder: Path, data: EvaluationData) -> ClipScores:
    """Retrieval among the first 1,000 evaluation pairs, and the 400 evaluation twins."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    similarity = _images(model, data.pictures[:_N_RETRIEVAL]) @ _texts(model, folder, data.texts(1)[:_N_RETRIEVAL]).T
    right = similarity.diagonal()
    rank_of_image = (similarity > right[None, :]).sum(dim=0) + 1
    rank_of_text = (similarity > right[:, None]).sum(dim=1) + 1

    items = twins("evaluation")
    sides = [_images(model, normalised(render(side))) for side in (items.a, items.b)]
    texts = [_texts(model, folder, side) for side in (items.captions_a, items.captions_b)]
    (aa, ab), (ba, bb) = [[(image * text).sum(dim=1) for text in texts] for image in sides]
    text, image = (aa > ab) & (bb > ba), (aa > ba) & (bb > ab)
    group = text & image
    return ClipScores(
        text_to_image_recall_1=_per_cent(rank_of_image == 1),
        image_to_text_recall_1=_per_cent(rank_of_text == 1),
        median_rank=float(np.median(rank_of_image.numpy())),
        twins_text=_per_cent(text),
        twins_image=_per_cent(image),
        twins_group=_per_cent(group),
        group_by_kind={kind: _per_cent(group[torch.from_numpy(items.kind == k)]) for k, kind in enumerate(KINDS)},
    )


def _per_cent(hits: Tensor) -> float:
    return round(100 * float(hits.float().mean()), 2)


def _images(model: CLIPModel, pictures: Float[Tensor, "n 3 64 64"]) -> Float[Tensor, "n d"]:
    pooled = [model.vision_model(pixel_values=batch).pooler_output for batch in pictures.split(_BATCH)]
    return functional.normalize(model.visual_projection(torch.cat(pooled)), dim=-1)


def _texts(model: CLIPModel, folder: Path, texts: list[str]) -> Float[Tensor, "n d"]:
    encoded = [torch.tensor(ids) for ids in AutoTokenizer.from_pretrained(folder)(texts)["input_ids"]]
    tokens = pad_sequence(encoded, batch_first=True, padding_value=PAD)
    pooled = [model.text_model(input_ids=batch).pooler_output for batch in tokens.split(_BATCH)]
    return functional.normalize(model.text_projection(torch.cat(pooled)), dim=-1)
