"""Tiny CLIPs: one trained plainly, which matches bags of words, and one fine-tuned on compositional pairs.

Axis letters: b pictures and texts, i twin items, m rows, t positions.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import CLIPConfig, CLIPModel

from interp_plugins.embedded.world import captions, render, scenes, twins
from interp_plugins.embedded.zoo.labels import SceneLabels, scene_labels
from interp_plugins.embedded.zoo.recipes import (
    CLIP_POSITIONS,
    CLIP_PROJECTION,
    PATCH_SIZE,
    PICTURE_SIZE,
    VOCABULARY_SIZE,
    Recipe,
)
from interp_plugins.embedded.zoo.sources import normalised, sample_rows, seeded, seeded_heads, step_generator
from interp_plugins.embedded.zoo.tokens import BOS, END_OF_TEXT, PAD, clip_tokenizer
from interp_plugins.embedded.zoo.vision import PatchHeads

_INIT_GAIN = 0.7


@dataclass(frozen=True)
class _Mixture:
    """What a step is made of, and how its losses are weighed."""

    n_pairs: int
    n_items: int
    n_twins: int
    patch_weight: float
    pair_weight: float


_PLAIN = _Mixture(n_pairs=64, n_items=32, n_twins=2_000, patch_weight=2.0, pair_weight=0.0)
_COMPOSITIONAL = _Mixture(n_pairs=32, n_items=48, n_twins=6_000, patch_weight=1.0, pair_weight=2.0)


def initial_clip_model(recipe: Recipe) -> CLIPModel:
    """The untrained CLIP of a recipe, from its seed: projections and MLPs normal with .7/sqrt(fan-in)."""
    tower = {
        "hidden_size": recipe.width,
        "intermediate_size": 4 * recipe.width,
        "num_hidden_layers": recipe.n_layers,
        "num_attention_heads": recipe.n_heads,
        "hidden_act": "gelu",
        "projection_dim": CLIP_PROJECTION,
    }
    text = {
        "vocab_size": VOCABULARY_SIZE,
        "max_position_embeddings": CLIP_POSITIONS,
        "bos_token_id": BOS,
        "eos_token_id": END_OF_TEXT,
        "pad_token_id": PAD,
    }
    vision = {"image_size": PICTURE_SIZE, "patch_size": PATCH_SIZE}
    config = CLIPConfig(
        text_config={**tower, **text}, vision_config={**tower, **vision}, projection_dim=CLIP_PROJECTION
    )
    with seeded(recipe.seed):
        model = CLIPModel(config)
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and ("proj" in name or "fc" in name):
                nn.init.normal_(weight, std=_INIT_GAIN / math.sqrt(weight.shape[1]))
    return model


class ClipTraining:
    """Contrastive training on pictures and captions, half or more of them twins.

    Args:
        recipe: a recipe whose objective is ``clip`` or ``clip-compositional``.
        base: the model to go on from; by default an untrained one.
    """

    def __init__(self, recipe: Recipe, base: nn.Module | None = None) -> None:
        self.recipe = recipe
        self.model = initial_clip_model(recipe)
        if base is not None:
            self.model.load_state_dict(base.state_dict())
        with seeded_heads(recipe.seed):
            self._patch_heads = PatchHeads(recipe.width)
        self.modules: dict[str, nn.Module] = {"model": self.model, "patch_heads": self._patch_heads}
        self._mixture = _COMPOSITIONAL if recipe.objective == "clip-compositional" else _PLAIN
        self._load_pairs()
        self._load_twins()

    def _load_pairs(self) -> None:
        training_scenes = scenes("train")
        self._pictures = render(training_scenes)
        self._labels = scene_labels(training_scenes)
        flat = _encode([text for of_item in captions("train") for text in of_item])
        n_captions = len(flat) // len(self._pictures)
        self._texts = [flat[first : first + n_captions] for first in range(0, len(flat), n_captions)]

    def _load_twins(self) -> None:
        items = twins("train", stop=self._mixture.n_twins)
        self._twin_pictures = np.stack([render(items.a), render(items.b)])
        self._twin_labels = (scene_labels(items.a), scene_labels(items.b))
        self._twin_texts = (_encode(items.captions_a), _encode(items.captions_b))

    def losses(self, i: int) -> dict[str, Float[Tensor, ""]]:
        """The loss of step i and its terms, in nats: contrastive, patches, and for the compositional recipe twin pairs."""
        generator = step_generator(self.recipe.seed, i)
        pixels, texts, labels = self._batch(generator)
        vision = self.model.vision_model(pixel_values=pixels)
        text = self.model.text_model(input_ids=pad_sequence(texts, batch_first=True, padding_value=PAD))
        images = functional.normalize(self.model.visual_projection(vision.pooler_output), dim=-1)
        words = functional.normalize(self.model.text_projection(text.pooler_output), dim=-1)
        similarity = self.model.logit_scale.exp().clamp(max=100.0) * images @ words.T
        contrastive = symmetric_cross_entropy(similarity)
        colour, shape = self._patch_heads.losses(vision.last_hidden_state[:, 1:], labels)
        terms = {"contrastive": contrastive, "patch_colour": colour, "patch_shape": shape}
        loss = contrastive + self._mixture.patch_weight * (colour + shape)
        if self._mixture.pair_weight:
            terms["pairs"] = pair_loss(similarity[self._mixture.n_pairs :, self._mixture.n_pairs :])
            loss = loss + self._mixture.pair_weight * terms["pairs"]
        return {"loss": loss, **terms}

    def _batch(
        self, generator: torch.Generator
    ) -> tuple[Float[Tensor, "b 3 64 64"], list[Int[Tensor, " t"]], SceneLabels]:
        """Ordinary pairs, then pictures A of the twin items, then pictures B, with their texts and patch labels."""
        mixture = self._mixture
        rows = sample_rows(len(self._pictures), mixture.n_pairs, generator)
        items = sample_rows(mixture.n_twins, mixture.n_items, generator)
        which = sample_rows(len(self._texts[0]), mixture.n_pairs, generator)
        pictures = np.concatenate([self._pictures[rows], self._twin_pictures[0, items], self._twin_pictures[1, items]])
        texts = [self._texts[row][caption] for row, caption in zip(rows, which, strict=True)]
        texts += [one_side[item] for one_side in self._twin_texts for item in items]
        parts = [self._labels.take(rows), *(one_side.take(items) for one_side in self._twin_labels)]
        return normalised(pictures), texts, SceneLabels.concatenate(parts)


def symmetric_cross_entropy(similarity: Float[Tensor, "b b"]) -> Float[Tensor, ""]:
    """The CLIP loss of scaled similarities [b, b] whose diagonal holds the true pairs; mean of both directions, in nats."""
    true = torch.arange(len(similarity))
    return 0.5 * (functional.cross_entropy(similarity, true) + functional.cross_entropy(similarity.T, true))


def pair_loss(similarity: Float[Tensor, "m m"]) -> Float[Tensor, ""]:
    """How far twins are from being told apart, in nats; 2 ln 2 when every similarity is the same.

    Args:
        similarity: [m, m], m = 2i, scaled similarities of pictures A ..., B ... (rows) and captions a ..., b ... (columns).

    Returns:
        Mean over items of half the sum of softplus(wrong - right) over the four comparisons of a Winoground item.
    """
    n = len(similarity) // 2
    aa, ab = similarity[:n, :n].diagonal(), similarity[:n, n:].diagonal()
    ba, bb = similarity[n:, :n].diagonal(), similarity[n:, n:].diagonal()
    differences = torch.stack([ab - aa, ba - aa, ba - bb, ab - bb])
    return 0.5 * functional.softplus(differences).sum(dim=0).mean()


def _encode(texts: list[str]) -> list[Int[Tensor, " t"]]:
    return [torch.tensor(ids) for ids in clip_tokenizer()(texts)["input_ids"]]
