"""The beginning of a decomposition: fresh components and importance functions, and the faithfulness warm-up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.inputs import Problem
from interp_plugins.methods.spd.losses.minimality import faithfulness
from interp_plugins.methods.spd.optimiser import SequentialAdamW
from interp_plugins.methods.spd.training import export_weights, import_weights
from interp_registry.tensors.seeding import generator
from interp_registry.training.config import TrainingConfig
from interp_registry.training.loop import train

__all__ = ["WarmupTraining", "begin_decomposition"]


def begin_decomposition(config: DecomposeConfig, problem: Problem, seed: int, *, warm_up: bool = True) -> Decomposition:
    """Return a decomposition at its beginning.

    Args:
        config: The decomposition.
        problem: Target and data.
        seed: Seed of the components.
        warm_up: Whether to carry out the configured warm-up; not where a checkpoint is loaded anyway.
    """
    device = problem.target.weight(problem.target.module_names()[0]).device
    model = build_decomposition(config, problem.target, generator(seed, "spd init", device=device))
    if config.compile:
        model.importance.use_compiler()
    if config.warmup.steps and warm_up:
        warmup: Any = WarmupTraining(model, config.warmup.learning_rate, config.warmup.weight_decay)
        train(warmup, TrainingConfig(steps=config.warmup.steps, log_every=config.warmup.steps), seed)
    return model


@dataclass
class WarmupTraining:
    """Faithfulness warm-up: the components alone, before the decomposition proper.

    Attributes:
        model: The decomposition.
        rate: AdamW rate.
        weight_decay: AdamW weight decay.
    """

    model: Decomposition
    rate: float
    weight_decay: float
    optimiser: SequentialAdamW = field(init=False)

    def __post_init__(self) -> None:
        self.optimiser = SequentialAdamW(self.model.component_parameters(), self.rate, weight_decay=self.weight_decay)

    def optimisers(self) -> dict[str, SequentialAdamW]:
        """The optimiser of the components."""
        return {"warmup": self.optimiser}

    def step(self, i: int) -> dict[str, Tensor]:
        """Return the faithfulness loss."""
        del i
        return {"loss": faithfulness({site.name: self.model.delta(site.name) for site in self.model.sites}).sum()}

    def state(self) -> dict[str, Any]:
        """Weights."""
        return {"weights": export_weights(self.model)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take weights back."""
        import_weights(self.model, state["weights"])
