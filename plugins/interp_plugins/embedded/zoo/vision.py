"""Tiny vision transformers, trained on pictures alone: no caption is read here.

Axis letters: b pictures, m rows, 65 tokens (class token, then 64 patches), d width.
"""

import math
from typing import cast

import torch
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from interp_plugins.embedded.world import render, scenes
from interp_plugins.embedded.zoo.labels import N_LABELS, N_PATCH_CLASSES, SceneLabels, scene_labels
from interp_plugins.embedded.zoo.recipes import PATCH_SIZE, PICTURE_SIZE, Recipe
from interp_plugins.embedded.zoo.sources import normalised, sample_rows, seeded, seeded_heads, step_generator

_INIT_GAIN, _POSITION_STD = 0.8, 0.3
_PIXEL_NOISE, _PATCH_WEIGHT = 0.05, 3.0
_NOISE_STREAM = 1


def initial_vision_model(recipe: Recipe) -> VisionTransformer:
    """The untrained model of a recipe, from its seed.

    Linear weights are normal with standard deviation .8/sqrt(fan-in), the patch projection 1/sqrt(192), the position
    embedding .3; biases are zero. The defaults (.02) are far below that at these widths.
    """
    with seeded(recipe.seed):
        model = VisionTransformer(
            img_size=PICTURE_SIZE,
            patch_size=PATCH_SIZE,
            embed_dim=recipe.width,
            depth=recipe.n_layers,
            num_heads=recipe.n_heads,
            num_classes=0,
        )
        for module in model.modules():
            if isinstance(module, nn.Linear):
                initialise_linear(module, _INIT_GAIN)
        projection = model.patch_embed.proj
        nn.init.normal_(projection.weight, std=1 / math.sqrt(projection.weight[0].numel()))
        nn.init.zeros_(projection.bias)
        nn.init.normal_(cast("Tensor", model.pos_embed), std=_POSITION_STD)
    return model


def initialise_linear(module: nn.Linear, gain: float) -> None:
    """Normal weights with standard deviation gain/sqrt(fan-in), zero bias; draws from the global generator."""
    nn.init.normal_(module.weight, std=gain / math.sqrt(module.in_features))
    nn.init.zeros_(module.bias)


class PatchHeads(nn.Module):
    """Two linear readers of every patch token: its colour and its shape, background included."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.colour = nn.Linear(width, N_PATCH_CLASSES)
        self.shape = nn.Linear(width, N_PATCH_CLASSES)

    def losses(
        self, patches: Float[Tensor, "b 64 d"], labels: SceneLabels
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Cross-entropy of colour and of shape over all patches [b, 64, d], in nats."""
        flat = patches.flatten(0, 1)
        colour = functional.cross_entropy(self.colour(flat), labels.patch_colour.flatten())
        return colour, functional.cross_entropy(self.shape(flat), labels.patch_shape.flatten())


class LabelTraining:
    """Supervised training on labels of the scene: 50 labels from the class token, colour and shape from each patch.

    Args:
        recipe: a recipe whose objective is ``labels``.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.model = initial_vision_model(recipe)
        with seeded_heads(recipe.seed):
            self._label_head = nn.Linear(recipe.width, N_LABELS)
            self._patch_heads = PatchHeads(recipe.width)
        self.modules: dict[str, nn.Module] = {
            "model": self.model,
            "label_head": self._label_head,
            "patch_heads": self._patch_heads,
        }
        training_scenes = scenes("train")
        self._pictures = render(training_scenes)
        self._labels = scene_labels(training_scenes)

    def losses(self, i: int) -> dict[str, Float[Tensor, ""]]:
        """The loss of step i and its terms: labels (summed binary cross-entropy), patch colour, patch shape, in nats."""
        rows = sample_rows(len(self._pictures), self.recipe.batch, step_generator(self.recipe.seed, i))
        pixels = normalised(self._pictures[rows])
        generator = step_generator(self.recipe.seed, i, _NOISE_STREAM)
        pixels = pixels + _PIXEL_NOISE * torch.randn(pixels.shape, generator=generator)
        tokens = self.model.forward_features(pixels)
        labels = self._labels.take(rows)
        logits = self._label_head(tokens[:, 0])
        label_loss = functional.binary_cross_entropy_with_logits(logits, labels.scene, reduction="sum") / len(rows)
        colour, shape = self._patch_heads.losses(tokens[:, 1:], labels)
        loss = label_loss + _PATCH_WEIGHT * (colour + shape)
        return {"loss": loss, "labels": label_loss, "patch_colour": colour, "patch_shape": shape}


class SimclrTraining:
    """SimCLR (Chen et al. 2020): two augmented views of a picture attract each other; no label at all.

    Args:
        recipe: a recipe whose objective is ``simclr``.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.model = initial_vision_model(recipe)
        with seeded_heads(recipe.seed):
            self._projector = nn.Sequential(nn.Linear(recipe.width, 128), nn.GELU(), nn.Linear(128, 64))
        self.modules: dict[str, nn.Module] = {"model": self.model, "projector": self._projector}
        self._pictures = render(scenes("train"))

    def losses(self, i: int) -> dict[str, Float[Tensor, ""]]:
        """NT-Xent of step i with temperature .1 over the two views of every picture, in nats."""
        generator = step_generator(self.recipe.seed, i)
        pixels = normalised(self._pictures[sample_rows(len(self._pictures), self.recipe.batch, generator)])
        views = torch.cat([augmented(pixels, generator) for _ in range(2)])
        codes = functional.normalize(self._projector(self.model.forward_features(views)[:, 0]), dim=-1)
        return {"loss": nt_xent(codes, temperature=0.1)}


def augmented(pixels: Float[Tensor, "b 3 64 64"], generator: torch.Generator) -> Float[Tensor, "b 3 64 64"]:
    """One random view of each normalised picture [b, 3, 64, 64]: zoom and shift, brightness, colour offset, pixel noise.

    The window has scale s = 1 - .35 U(0, 1) and a uniform shift within +-(1 - s); no flip, no cut-out.
    """
    n = len(pixels)
    scale = 1 - 0.35 * torch.rand(n, generator=generator)
    shift = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - scale)[:, None]
    affine = torch.zeros(n, 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = shift
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    view = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    view = view * (0.7 + 0.6 * torch.rand(n, 1, 1, 1, generator=generator))
    view = view + 0.15 * torch.randn(n, 3, 1, 1, generator=generator)
    return view + 0.08 * torch.randn(view.shape, generator=generator)


def nt_xent(codes: Float[Tensor, "m d"], temperature: float) -> Float[Tensor, ""]:
    """Normalised temperature-scaled cross-entropy of unit codes [m, d], m = 2b; rows i and i + b are one picture. In nats."""
    similarity = codes @ codes.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(codes), dtype=torch.bool), float("-inf"))
    partners = torch.arange(len(codes)).roll(len(codes) // 2)
    return functional.cross_entropy(similarity, partners)
