"""Reconstruction losses: the output under masks must stay the target's output.

All are means over mask samples (and modules, for the layerwise ones) of the distance D of a step. Routing and layerwise
passes replace only some modules by their components.

Axis letters: ``r`` optional leading run dimensions.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.distances import kl_per_position
from interp_plugins.methods.spd.factored import written_out
from interp_plugins.methods.spd.loss_config import EmbeddingReconConfig, MaskedReconConfig, StochasticReconConfig
from interp_plugins.methods.spd.masks import Masks, static_routing, stochastic_masks, uniform_k_routing
from interp_plugins.methods.spd.step import Step
from interp_registry.errors import UsageError

__all__ = [
    "EmbeddingRecon",
    "HiddenActivations",
    "MaskedRecon",
    "StochasticRecon",
    "UnmaskedRecon",
    "draw_masks",
    "routed",
]


def draw_masks(step: Step) -> Masks:
    """Draw stochastic masks as the step's sampling says."""
    sampling = step.sampling
    return stochastic_masks(step.lower_parts, step.draws, binary=sampling.binary, delta=sampling.delta)


def routed(masks: Masks, step: Step, routing: str, probability: float) -> Masks:
    """Add routing to masks: ``all``, ``uniform_k`` or ``static``."""
    n_modules = len(step.model.sites)
    if routing == "uniform_k":
        return replace(masks, routing=uniform_k_routing(step.lead, n_modules, step.draws))
    if routing == "static":
        return replace(masks, routing=static_routing(step.lead, n_modules, probability, step.draws))
    return masks


def layerwise(step: Step, masks: Masks) -> Float[Tensor, "*r"]:
    """Return the mean over modules of the distance with that module alone replaced."""
    parts = [step.distance(masks, only=site.name) for site in step.model.sites]
    return torch.stack(parts).sum(0) / len(parts)


class StochasticRecon:
    """``mean_s D(f(masks_s), f)``, all modules, one at a time, or a routed subset."""

    def __init__(self, config: StochasticReconConfig) -> None:
        self.config = config

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss of every run."""
        n = step.sampling.n_samples
        parts = [self._sample(step) for _ in range(n)]
        return torch.stack(parts).sum(0) / n if n > 1 else parts[0]

    def _sample(self, step: Step) -> Tensor:
        masks = draw_masks(step)
        if self.config.over == "layerwise":
            return layerwise(step, masks)
        if self.config.over == "subset":
            masks = routed(masks, step, self.config.routing, self.config.probability)
        return step.distance(masks)


class MaskedRecon:
    """The same with the causal importances themselves as masks: nothing random, no delta component."""

    def __init__(self, config: MaskedReconConfig) -> None:
        self.config = config

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss of every run."""
        masks = Masks(kept=step.lower_parts)
        if self.config.over == "layerwise":
            return layerwise(step, masks)
        if self.config.over == "subset":
            masks = routed(masks, step, self.config.routing, self.config.probability)
        return step.distance(masks)


class UnmaskedRecon:
    """Distance with every component kept and no delta component: what the sum of the components misses."""

    def __init__(self, config: object) -> None:
        self.config = config

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss of every run."""
        return step.distance(Masks())


class HiddenActivations:
    """Mean squared error between the inputs of all modules under stochastic masks and in the target."""

    def __init__(self, config: object) -> None:
        self.config = config

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss of every run; the first module contributes 0 and counts in the denominator."""
        n = step.sampling.n_samples
        return torch.stack([self._sample(step) for _ in range(n)]).sum(0) / n

    @staticmethod
    def _sample(step: Step) -> Tensor:
        seen: dict[str, object] = {}
        model, run_dims = step.model, step.model.run_dims
        model.masked_output(step.known, step.inner, draw_masks(step), seen=seen)  # type: ignore[arg-type]
        errors: list[Tensor] = []
        count = 0.0
        for site in model.sites:
            want, got = written_out(step.known.inputs[site.name]), written_out(seen[site.name])  # type: ignore[arg-type]
            if not want.is_floating_point():
                continue
            errors.append((got - want).square().sum(tuple(range(run_dims, want.dim()))))
            count += step.n_rows * want.shape[-1]
        return torch.stack(errors).sum(0) / count


class EmbeddingRecon:
    """``mean_s mean |emb(masks_s) - emb|^2``, summed over the width; or the divergence after the unembedding."""

    def __init__(self, config: EmbeddingReconConfig) -> None:
        self.config = config

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss.

        Raises:
            UsageError: Not exactly one embedding is decomposed, or the target has no unembedding.
        """
        embeddings = [i for i, site in enumerate(step.model.sites) if site.is_embedding]
        if len(embeddings) != 1:
            raise UsageError(f"{len(embeddings)} embeddings are decomposed", "embedding_recon wants exactly one")
        unembed = getattr(step.model.target, "unembed", None)
        if self.config.unembed and unembed is None:
            raise UsageError("the target has no unembedding", "leave unembed out")
        n = step.sampling.n_samples
        found = [self._sample(step, embeddings[0], unembed) for _ in range(n)]
        return torch.stack(found).sum(0) / n

    def _sample(self, step: Step, index: int, unembed: Callable[[Tensor], Tensor] | None) -> Tensor:
        site = step.model.sites[index]
        want = written_out(step.known.outputs[site.name])
        got = step.model.site_output(site, step.inner[index], draw_masks(step), step.known.outputs[site.name])
        if self.config.unembed and unembed is not None:
            return kl_per_position(unembed(written_out(got)), unembed(want)).sum() / step.n_rows
        return (written_out(got) - want).square().sum() / step.n_rows
