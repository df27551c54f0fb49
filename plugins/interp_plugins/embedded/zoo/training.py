"""How a recipe is carried out by the training loop: AdamW, warm-up and cosine, gradient clipping, checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp_plugins.embedded.zoo import clip, language, vision
from interp_plugins.embedded.zoo.recipes import Recipe
from interp_registry.training.config import TrainingConfig
from interp_registry.training.loop import Tools, TrainingSummary, train
from interp_registry.training.schedules import ScheduleConfig

__all__ = ["Objective", "RecipeTraining", "carry_out", "initial_model", "start", "training_config"]


class Objective(Protocol):
    """What each objective offers: its modules, and the losses of step i as a function of the recipe's seed and i alone."""

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

    def losses(self, i: int) -> dict[str, Float[Tensor, ""]]:
        """The terms of step i; ``loss`` is what is minimised."""
        ...


class RecipeTraining:
    """An objective as the training loop drives it.

    Args:
        objective: what is minimised; its modules are set to training mode.
    """

    def __init__(self, objective: Objective) -> None:
        recipe = objective.recipe
        self._objective = objective
        self._modules = nn.ModuleDict(objective.modules).train()
        self._optimiser = torch.optim.AdamW(
            self._modules.parameters(), lr=recipe.peak_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
        )

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW over model and heads."""
        return {"adamw": self._optimiser}

    def step(self, i: int) -> dict[str, Float[Tensor, ""]]:
        """The losses of step i."""
        return self._objective.losses(i)

    def state(self) -> dict[str, Any]:
        """Weights of model and heads; samples and noise are functions of the step."""
        return {"weights": self._modules.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over stored weights."""
        self._modules.load_state_dict(state["weights"])


def start(recipe: Recipe, base: nn.Module | None = None) -> Objective:
    """The objective of a recipe before its first step.

    Args:
        recipe: which model.
        base: for a recipe that starts from another model, that model.
    """
    if recipe.modality == "clip":
        return clip.ClipTraining(recipe, base)
    builders: dict[str, Callable[[Recipe], Objective]] = {
        "next-token": language.LanguageTraining,
        "labels": vision.LabelTraining,
        "simclr": vision.SimclrTraining,
    }
    return builders[recipe.objective](recipe)


def carry_out(objective: Objective, steps: int | None = None, tools: Tools | None = None) -> TrainingSummary:
    """Take the first ``steps`` steps of a recipe; all of them by default."""
    config = training_config(objective.recipe, steps)
    return train(RecipeTraining(objective), config, objective.recipe.seed, tools)


def training_config(recipe: Recipe, steps: int | None = None) -> TrainingConfig:
    """The loop's settings for a recipe; fewer steps are the beginning of the whole schedule.

    Rate of step s of n: peak * min(1, (s + 1)/warmup) * (floor + (1 - floor) * (1 + cos(pi s/n))/2).
    """
    schedule = ScheduleConfig(
        shape="cosine", end=recipe.floor, warmup=str(recipe.warmup), length=str(recipe.steps), overlap=True
    )
    return TrainingConfig(
        steps=recipe.steps if steps is None else steps, schedule=schedule, clip_norm=recipe.clip_norm, log_every=20
    )


def initial_model(recipe: Recipe) -> nn.Module:
    """The untrained model of a recipe, from its seed."""
    builders: dict[str, Callable[[Recipe], nn.Module]] = {
        "language": language.initial_language_model,
        "vision": vision.initial_vision_model,
        "clip": clip.initial_clip_model,
    }
    return builders[recipe.modality](recipe)
