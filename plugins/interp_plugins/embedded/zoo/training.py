"""How a recipe is carried out: AdamW, warm-up and cosine, gradient clipping, step by step."""

import logging
import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from interp_plugins.embedded.zoo.recipes import Recipe

_log = logging.getLogger(__name__)


class Training(Protocol):
    """What each objective offers: its modules and the losses of step i."""

    @property
    def recipe(self) -> Recipe:
        """What is carried out."""
        ...

    @property
    def model(self) -> nn.Module:
        """The model that is kept."""
        ...

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Everything that is trained: the model, and heads that are thrown away."""
        ...

    def losses(self, i: int) -> dict[str, Tensor]:
        """The terms of step i; ``loss`` is what is minimised."""
        ...


def start(recipe: Recipe, base: nn.Module | None = None) -> Training:
    """The training of a recipe before its first step.

    Args:
        recipe: which model.
        base: for a recipe that starts from another model, that model.
    """
    from interp_plugins.embedded.zoo import clip, language, vision

    if recipe.modality == "clip":
        return clip.ClipTraining(recipe, base)
    builders: dict[str, Callable[[Recipe], Training]] = {
        "next-token": language.LanguageTraining,
        "labels": vision.LabelTraining,
        "simclr": vision.SimclrTraining,
    }
    return builders[recipe.objective](recipe)


def initial_model(recipe: Recipe) -> nn.Module:
    """The untrained model of a recipe, from its seed."""
    from interp_plugins.embedded.zoo import clip, language, vision

    builders: dict[str, Callable[[Recipe], nn.Module]] = {
        "language": language.initial_language_model,
        "vision": vision.initial_vision_model,
        "clip": clip.initial_clip_model,
    }
    return builders[recipe.modality](recipe)


def rate_factor(recipe: Recipe, i: int) -> float:
    """The learning rate of step i over its peak: linear warm-up, then a cosine from 1 down to the floor."""
    cosine = 0.5 * (1 + math.cos(math.pi * i / recipe.steps))
    return min(1.0, (i + 1) / recipe.warmup) * (recipe.floor + (1 - recipe.floor) * cosine)


def train(
    training: Training, steps: int | None = None, on_step: Callable[[int, dict[str, float]], None] | None = None
) -> None:
    """Take the first ``steps`` steps of a recipe (all by default); ``on_step`` sees the losses of each."""
    recipe = training.recipe
    parameters = [p for module in training.modules.values() for p in module.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.peak_rate, betas=recipe.betas, weight_decay=recipe.weight_decay)
    for module in training.modules.values():
        module.train()
    for i in range(recipe.steps if steps is None else steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.peak_rate * rate_factor(recipe, i)
        losses = training.losses(i)
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        optimiser.step()
        if on_step is not None:
            on_step(i, {name: float(value.detach()) for name, value in losses.items()})
