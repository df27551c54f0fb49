"""Building the zoo: carry out recipes one after the other, write the folders, and note everything in the manifest."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import CLIPModel
from transformers.utils.logging import disable_progress_bar

from interp_plugins.embedded.zoo import folder
from interp_plugins.embedded.zoo.folders import write_model
from interp_plugins.embedded.zoo.manifest import model_entry, write_manifest
from interp_plugins.embedded.zoo.recipes import Recipe
from interp_plugins.embedded.zoo.training import carry_out, start
from interp_registry.events import Event, EventSink, Progress, Scalar
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.training.loop import Tools, TrainingSummary

__all__ = ["Built", "Workshop", "build"]


@dataclass(frozen=True)
class Built:
    """One model that was trained."""

    recipe: Recipe
    folder: Path
    summary: TrainingSummary
    cpu_seconds: float


@dataclass(frozen=True)
class Workshop:
    """Where a build happens and who is told."""

    weights: Path
    """Folder of the model folders and the manifest."""
    checkpoints: Path
    """Folder for training checkpoints, one sub-folder per model."""
    events: EventSink
    stop: Callable[[], bool] = lambda: False

    def tools(self, name: str) -> Tools:
        """What the training loop may use for one model; its events are named after the model."""
        return Tools(
            events=_Named(self.events, name), checkpoints=CheckpointStore(self.checkpoints / name), stop=self.stop
        )


def build(recipes: Sequence[Recipe], workshop: Workshop) -> list[Built]:
    """Train the models of some recipes in order; what has a checkpoint goes on from there.

    Raises:
        InterruptedRunError: a signal asked for a stop; the finished models are written.
    """
    disable_progress_bar()
    return [_build_one(recipe, workshop) for recipe in recipes]


def _build_one(recipe: Recipe, workshop: Workshop) -> Built:
    begin = time.process_time()
    objective = start(recipe, _base_model(recipe, workshop.weights))
    summary = carry_out(objective, tools=workshop.tools(recipe.name))
    target = workshop.weights / recipe.name
    write_model(objective.model, recipe, target)
    built = Built(recipe, target, summary, time.process_time() - begin)
    losses = {name: round(value, 4) for name, value in summary.losses.items()}
    write_manifest(
        workshop.weights, {recipe.name: model_entry(recipe, target, {"last_step": losses}, built.cpu_seconds)}
    )
    return built


def _base_model(recipe: Recipe, weights: Path) -> CLIPModel | None:
    """What a fine-tuning starts from: the model just built, or else the shipped one; fp16 weights read as fp32."""
    if recipe.starts_from is None:
        return None
    own = weights / recipe.starts_from
    return CLIPModel.from_pretrained(own if own.is_dir() else folder(recipe.starts_from), dtype=torch.float32)


class _Named(EventSink):
    """Hands events on with the model's name before theirs."""

    def __init__(self, sink: EventSink, name: str) -> None:
        self._sink, self._name = sink, name

    def emit(self, event: Event) -> None:
        if isinstance(event, Progress):
            event = replace(event, task=f"{self._name}: {event.task}")
        elif isinstance(event, Scalar):
            event = replace(event, name=f"{self._name}/{event.name}")
        self._sink.emit(event)
