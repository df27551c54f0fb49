"""Evaluating a decomposition: batches with their importances, one-hot inputs, and what metrics return.

Axis letters: ``f`` features, ``c`` components of one module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.config import DecomposeConfig
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.randomness import Draws
from interp_plugins.methods.spd.sigmoids import squashers
from interp_plugins.methods.spd.sparse_data import nonzero_rows
from interp_plugins.methods.spd.step import Sampling, Step, begin_step, split
from interp_plugins.methods.spd.training import Batches, zero_rows_stay_zero
from interp_registry.figures import Figure
from interp_registry.tensors.seeding import generator

__all__ = ["ONE_HOT", "Evaluation", "Measured", "measure"]

ONE_HOT = 0.75
"""Size of the one-hot inputs of toys."""


@dataclass
class Measured:
    """What a metric found.

    Attributes:
        scalars: Named numbers.
        figures: Figures.
    """

    scalars: dict[str, float] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)

    def __add__(self, other: "Measured") -> "Measured":
        """Return both together."""
        return Measured({**self.scalars, **other.scalars}, [*self.figures, *other.figures])


@dataclass
class Evaluation:
    """A decomposition (without run dimensions) and batches to judge it on.

    Attributes:
        model: The decomposition.
        config: Its configuration.
        batches: Source of batches.
        seed: Seed of the evaluation batches and masks.
        n_features: Number of input features of a toy, or None.
    """

    model: Decomposition
    config: DecomposeConfig
    batches: Batches
    seed: int
    n_features: int | None = None

    @cached_property
    def steps(self) -> list[Step]:
        """Batches with activations and importances; rows of zeros are taken once where that is exact."""
        c = self.config
        sampling = Sampling(c.n_mask_samples, c.sampling == "binomial", c.delta, c.distance)
        dedupe = zero_rows_stay_zero(self.model, self.batches)
        device = self.model.component_parameters()[0].device
        steps: list[Step] = []
        for i in range(c.n_eval_batches):
            batch = self.batches(c.eval_batch_size, generator(self.seed, "spd evaluation data", i, device=device))
            batch, weights = nonzero_rows(batch) if dedupe else (batch, None)
            draws = Draws(generator(self.seed, "spd evaluation masks", i, device=device))
            with torch.no_grad():
                step = begin_step(self.model, batch, squashers(c.sigmoid, c.leak), draws, sampling, weights)
            step.progress = 1.0
            steps.append(step)
        return steps

    @cached_property
    def one_hot(self) -> dict[str, Float[Tensor, "f c"]]:
        """Importances (for masks) on one-hot inputs of 0.75, a row per feature; empty for a language model."""
        if self.n_features is None:
            return {}
        hot = ONE_HOT * torch.eye(self.n_features, device=self.model.component_parameters()[0].device)
        with torch.no_grad():
            draws = Draws(generator(self.seed, "spd one-hot"))
            step = begin_step(self.model, hot, squashers(self.config.sigmoid, self.config.leak), draws, Sampling())
        names = [site.name for site in self.model.sites]
        return dict(zip(names, split(step.lower, self.model.widths), strict=True))

    def mean_per_component(self, values: Mapping[int, Tensor]) -> dict[str, Float[Tensor, "c"]]:
        """Return batch means of values side by side, given for each step's number, per module."""
        total = sum(self.steps[i].batch_sum(value) / self.steps[i].n_rows for i, value in values.items())
        parts = split(torch.as_tensor(total) / max(1, len(values)), self.model.widths)
        return dict(zip([site.name for site in self.model.sites], parts, strict=True))


def measure(evaluation: Evaluation) -> Measured:
    """Return what all metrics of the configuration find."""
    found = Measured()
    for metric in evaluation.config.metrics.values():
        found = found + metric.build()(evaluation)
    return found
