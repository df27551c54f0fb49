"""Target and data of a decomposition, whatever kind they are."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.spd.config import DecomposeConfig, LanguageTargetConfig
from interp_plugins.methods.spd.sites import Target
from interp_plugins.methods.spd.targets.store import obtain_target
from interp_plugins.methods.spd.training import Batches
from interp_registry.contracts.method import RunContext

__all__ = ["Problem", "load_problem"]


@dataclass(frozen=True)
class Problem:
    """What is decomposed, and on what.

    Attributes:
        target: The model.
        batches: Source of batches.
        n_features: Input features of a toy; None for a language model.
        weights: A toy's weights under their published names; empty for a language model.
        record: Where the target came from.
        tokens: For a language model, what turns ids into text.
        held_out: Batches to evaluate on, where they are apart from those of the training.
    """

    target: Target
    batches: Batches
    n_features: int | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    tokens: Any = None
    held_out: Batches | None = None

    @property
    def evaluation_batches(self) -> Batches:
        """Batches to evaluate on."""
        return self.held_out or self.batches


def load_problem(config: DecomposeConfig, target_seed: int, ctx: RunContext) -> Problem:
    """Load (or train) the target of a decomposition, on the run's device."""
    if isinstance(config.target, LanguageTargetConfig):
        built: Problem = config.target.build(ctx)
        return built
    loaded = obtain_target(config.target, target_seed, ctx.cache, ctx.events, lambda: ctx.stopping)
    weights = {name: value.to(ctx.device) for name, value in loaded.weights.items()}
    record = {"folder": loaded.folder.name, **loaded.record}
    return toy_problem(config, weights, record)


def toy_problem(config: DecomposeConfig, weights: dict[str, Tensor], record: dict[str, Any] | None = None) -> Problem:
    """Return the problem of a toy target with known weights."""
    recipe = config.target.build()
    target = recipe.target(weights)
    data = recipe.data(config.feature_probability, config.data_generation)
    if target.n_features != data.n_features:  # a loaded target may be of another size than the configuration says
        from dataclasses import replace

        data = replace(data, n_features=target.n_features)

    def batches(n_rows: int, source: torch.Generator) -> Tensor:
        runs = next(iter(weights.values())).shape[: target.run_dims]
        return data.batch(n_rows, source, runs)

    return Problem(target, batches, target.n_features, weights, record or {})
