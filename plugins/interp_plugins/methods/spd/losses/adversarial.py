"""Adversarial reconstruction: the masks that hurt most instead of random ones.

Stochastic masks under-sample the worst case. Here the sources r in ``mask = ci + (1 - ci) r`` (and the raw delta masks)
climb the loss: fresh ones by a few signed gradient steps (projected gradient descent, PGD), persistent ones by one Adam
step after another across the whole training (the successor method of 2026). The adversary always climbs at full strength;
the coefficient only scales what the model feels.

With every source at one and the delta component on, the masked output *is* the target: a stationary point whose gradient
is rounding noise. Start elsewhere.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows, ``c`` components of all modules, ``l`` modules.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.loss_config import PersistentReconConfig, PgdReconConfig
from interp_plugins.methods.spd.losses.reconstruction import routed
from interp_plugins.methods.spd.masks import Masks
from interp_plugins.methods.spd.step import Step
from interp_registry.errors import CorruptError

__all__ = ["PersistentRecon", "PgdRecon", "adversarial_distance", "climb", "initial_sources"]

Sources = tuple[Float[Tensor, "... c"], Float[Tensor, "... l"] | None]


def initial_sources(step: Step, start: str, *, shared: bool) -> Sources:
    """Return sources at 0, at 1 or random; one set per row, or one for the whole batch.

    Random numbers are drawn module by module, components first and the delta mask as one more column.
    """
    run_dims = step.model.run_dims
    lead = (*step.lead[:run_dims], *([1] * (len(step.lead) - run_dims))) if shared else tuple(step.lead)
    delta, widths = step.sampling.delta, step.model.widths
    if start == "random":
        parts = [step.draws.uniform((*lead, width + delta), None if shared else 0) for width in widths]
        components = torch.cat([part[..., :width] for part, width in zip(parts, widths, strict=True)], -1)
        return components, torch.stack([part[..., -1] for part in parts], -1) if delta else None
    fill = {"zeroes": 0.0, "ones": 1.0}[start]
    components = step.lower.new_full((*lead, sum(widths)), fill)
    return components, step.lower.new_full((*lead, len(widths)), fill) if delta else None


def adversarial_distance(
    step: Step, sources: Sources, routing: Masks | None = None, only: str | None = None
) -> Float[Tensor, "*r"]:
    """Return the distance under the masks that sources give."""
    components, deltas = sources
    wide = None if deltas is None else deltas.expand(*step.lead, deltas.shape[-1])
    source = components.expand(*step.lead, components.shape[-1]).split(list(step.model.widths), -1)
    route = None if routing is None else routing.routing
    return step.distance(Masks(ci=step.lower_parts, source=source, deltas=wide, routing=route), only)


def climb(step: Step, sources: Sources, routing: Masks | None, only: str | None) -> tuple[Tensor, ...]:
    """Return the gradient of the distance with respect to the sources; model and importances held fixed."""
    fixed = replace(step, inner=tuple(h.detach() for h in step.inner), lower=step.lower.detach())
    leaves = [part.detach().requires_grad_() for part in sources if part is not None]
    pair: Sources = (leaves[0], leaves[1] if len(leaves) > 1 else None)
    with torch.enable_grad():
        loss = adversarial_distance(fixed, pair, routing, only).sum()
    grads: Any = torch.autograd.grad(loss, leaves, allow_unused=True)  # None where a leaf takes no part
    whole = [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, grads, strict=True)]
    if leaves[0].shape[:-1] != step.lead:  # sources shared by all rows, which other processes may hold
        whole = [step.share.total(g) for g in whole]
    return tuple(whole)


class PgdRecon:
    """Distance after ``n_steps`` signed steps from a fresh start."""

    def __init__(self, config: PgdReconConfig) -> None:
        self.config = config

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Return the loss of every run."""
        if self.config.over == "layerwise":
            parts = [self._attack(step, None, site.name) for site in step.model.sites]
            return torch.stack(parts).sum(0) / len(parts)
        routing = None
        if self.config.over == "subset":
            routing = routed(Masks(), step, self.config.routing, self.config.probability)
        return self._attack(step, routing, None)

    def _attack(self, step: Step, routing: Masks | None, only: str | None) -> Tensor:
        sources = initial_sources(step, self.config.start, shared=self.config.scope == "shared")
        for _ in range(self.config.n_steps):
            grads = climb(step, sources, routing, only)
            moved = [
                (part + self.config.step_size * grad.sign()).clamp(0.0, 1.0)
                for part, grad in zip([s for s in sources if s is not None], grads, strict=True)
            ]
            sources = (moved[0], moved[1] if len(moved) > 1 else None)
        return adversarial_distance(step, sources, routing, only)


class PersistentRecon:
    """Distance under sources that live across steps and climb by Adam."""

    def __init__(self, config: PersistentReconConfig) -> None:
        self.config = config
        self._state: dict[str, Tensor] = {}

    def __call__(self, step: Step) -> Float[Tensor, "*r"]:
        """Climb, then return the loss of every run under the climbed sources."""
        routing = None
        if self.config.routing != "all":
            routing = routed(Masks(), step, self.config.routing, self.config.probability)
        for _ in range(self.config.n_warmup + 1):
            self._climb(step, routing)
        return adversarial_distance(step, self._sources(step), routing)

    def state(self) -> dict[str, Tensor]:
        """Return sources and moments, for a checkpoint."""
        return dict(self._state)

    def load(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`state` gave."""
        self._state = dict(state)

    def _sources(self, step: Step) -> Sources:
        if "components" not in self._state:
            start = initial_sources(step, "random", shared=self.config.scope == "shared")
            for name, part in zip(("components", "deltas"), start, strict=True):
                if part is not None:
                    self._state |= {
                        name: part,
                        f"{name}.m": torch.zeros_like(part),
                        f"{name}.v": torch.zeros_like(part),
                    }
            self._state["steps"] = torch.zeros(())
        components = self._state["components"]
        if self.config.scope != "shared" and components.shape[:-1] != step.lead:
            raise CorruptError(
                f"persistent sources were made for a batch of shape {tuple(components.shape[:-1])}, "
                f"this one has {tuple(step.lead)}",
                "use a fixed batch shape, or scope 'shared'",
            )
        return components, self._state.get("deltas")

    def _climb(self, step: Step, routing: Masks | None) -> None:
        sources = self._sources(step)
        grads = climb(step, sources, routing, None)
        self._state["steps"] += 1
        t = float(self._state["steps"])
        warm = max(1.0, self.config.warmup_steps)
        rate = self.config.rate * min(1.0, t / warm)
        beta1, beta2 = self.config.betas
        names = [name for name in ("components", "deltas") if name in self._state]
        for name, grad in zip(names, grads, strict=True):
            m = self._state[f"{name}.m"].mul_(beta1).add_(grad, alpha=1 - beta1)
            v = self._state[f"{name}.v"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            move = (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + 1e-8)
            self._state[name] = (self._state[name] + rate * move).clamp(0.0, 1.0)
