"""Masks of components: stochastic and binomial sources, delta component, routing.

A mask interpolates between a component's causal importance and one: ``mask = ci + (1 - ci) r`` with a source ``r`` in
[0, 1]. A component of importance one is always kept; one of importance zero may be scaled by anything, and the output
must not change. Routing chooses, per row, which modules are replaced by their components at all.

Axis letters: ``...`` runs, rows, positions; ``m`` components of one module; ``l`` modules.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp_plugins.methods.spd.masked import masked_inner
from interp_plugins.methods.spd.randomness import Draws

Parts = tuple[Tensor, ...]
"""One tensor per module."""

__all__ = ["Masks", "Parts", "static_routing", "stochastic_masks", "uniform_k_routing"]


@dataclass(frozen=True)
class Masks:
    """What one forward pass through components is given; one entry per module, in order.

    Attributes:
        kept: Masks of the components; None where they follow from ``ci`` and ``source``, or all are one.
        ci: Importances to interpolate from.
        source: Sources to interpolate with.
        deltas: Masks of the delta components, modules last; None leaves the delta component out.
        routing: True where a module is replaced by its components, modules last; None replaces all.
    """

    kept: Parts | None = None
    ci: Parts | None = None
    source: Parts | None = None
    deltas: Float[Tensor, "... l"] | None = None
    routing: Bool[Tensor, "... l"] | None = None

    def apply(self, index: int, inner: Float[Tensor, "... m"]) -> Float[Tensor, "... m"]:
        """Return a module's inner activations times its masks, less the share that its delta component takes."""
        share = None if self.deltas is None else self.deltas[..., index]
        if self.ci is not None and self.source is not None:
            return masked_inner(inner, self.ci[index], self.source[index], share)
        if self.kept is None:
            return inner if share is None else inner * (1 - share).unsqueeze(-1)
        return inner * (self.kept[index] if share is None else self.kept[index] - share.unsqueeze(-1))


def stochastic_masks(ci: Parts, draws: Draws, *, binary: bool = False, delta: bool = False) -> Masks:
    """Draw fresh masks for all modules: uniform sources, or 0/1 with equal probability.

    Args:
        ci: Causal importances for masks (lower squashing), per module.
        draws: Where the random numbers come from.
        binary: Binomial instead of uniform sources. Delta masks stay uniform.
        delta: Also draw one delta mask per row and module.
    """
    lead, widths = ci[0].shape[:-1], [part.shape[-1] for part in ci]
    source = draws.component_sources(lead, widths, binary=binary).to(ci[0].dtype)
    deltas = draws.delta_sources(lead, len(widths)) if delta else None
    return Masks(ci=ci, source=source.split(widths, -1), deltas=deltas)


def uniform_k_routing(lead: Sequence[int], n_modules: int, draws: Draws) -> Bool[Tensor, "... l"]:
    """Route each row to ``k ~ U{1..L}`` modules chosen at random without replacement."""
    k = draws.integers(1, n_modules + 1, lead)
    ranks = draws.uniform((n_modules, *lead), rows_after=1).argsort(0).argsort(0)
    return torch.movedim(ranks < k, 0, -1)


def static_routing(lead: Sequence[int], n_modules: int, probability: float, draws: Draws) -> Bool[Tensor, "... l"]:
    """Route each row to each module independently with the given probability."""
    return torch.stack([draws.uniform(lead) < probability for _ in range(n_modules)], -1)
