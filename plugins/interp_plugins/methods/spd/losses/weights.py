"""The losses of ``minimality.py`` as choices of a decomposition: configuration in, callable on a step out."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.annealing import annealed
from interp_plugins.methods.spd.loss_config import (
    FaithfulnessConfig,
    FrequencyMinimalityConfig,
    ImportanceMinimalityConfig,
    SchattenConfig,
)
from interp_plugins.methods.spd.losses import minimality
from interp_plugins.methods.spd.step import Step, split

__all__ = ["Faithfulness", "FrequencyMinimality", "ImportanceMinimality", "Schatten"]


class Faithfulness:
    """Squared error of the weights, per element or relative per module."""

    def __init__(self, config: FaithfulnessConfig) -> None:
        self.config = config

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss of every run."""
        names = [site.name for site in step.model.sites]
        deltas = {name: step.model.delta(name) for name in names}
        if self.config.relative:
            loss = minimality.relative_faithfulness(deltas, {name: step.model.weight(name) for name in names})
        else:
            loss = minimality.faithfulness(deltas)
        return loss / step.share.n_processes


class ImportanceMinimality:
    """Annealed L_p (or smooth L0) of the importances, with the optional frequency term."""

    def __init__(self, config: ImportanceMinimalityConfig) -> None:
        self.config = config
        self.p: float | Tensor | None = None
        """A value per run in place of the configured exponent, for batched sweeps."""

    def exponent(self, progress: float) -> float | Tensor:
        """Return p at a share of the training."""
        if self.p is not None:
            return self.p
        c = self.config
        return annealed(progress, float(c.p), c.p_final, c.p_anneal_begin, c.p_anneal_end)

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss of every run."""
        gamma = _gamma(self.config, step.progress)
        sums = step.fired_sums(self.exponent(step.progress), self.config.eps, gamma)
        return minimality.importance_minimality(sums, step.n_rows, self.config.beta) / step.share.n_processes


class FrequencyMinimality:
    """Penalty on components that fire often."""

    def __init__(self, config: FrequencyMinimalityConfig) -> None:
        self.config = config

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss of every run."""
        c = self.config
        p = annealed(step.progress, float(c.p), c.p_final, c.p_anneal_begin, c.p_anneal_end)
        sums = step.fired_sums(p, c.eps, _gamma(c, step.progress))
        return minimality.frequency_minimality(sums / step.n_rows, c.reference) / step.share.n_processes


class Schatten:
    """Norms of components weighted by how much they fire."""

    def __init__(self, config: SchattenConfig) -> None:
        self.config = config

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss of every run."""
        powered = split(minimality.firing(step.upper, float(self.config.p), 0.0), step.model.widths)
        rows = [
            minimality.schatten(part.flatten(step.model.run_dims, -2), step.model.v(site.name), step.model.u(site.name))
            for part, site in zip(powered, step.model.sites, strict=True)
        ]
        total = torch.stack(rows).sum(0)
        if step.row_weights is not None:
            total = total * step.row_weights
        return total.sum(-1) / step.n_rows


def _gamma(config: ImportanceMinimalityConfig | FrequencyMinimalityConfig, progress: float) -> float | None:
    """Return the width of the smooth L0 at a share of the training, or None for the L_p form."""
    if config.gamma is None:
        return None
    return annealed(progress, config.gamma, config.gamma_final, 0.0, config.gamma_anneal_end)
