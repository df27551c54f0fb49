"""One step of a decomposition: what the losses are given.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows (or batch and position), ``c`` components of all modules
side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Size, Tensor

from interp_plugins.methods.spd.decomposition import Decomposition, TargetPass
from interp_plugins.methods.spd.distances import DISTANCES, rows_in
from interp_plugins.methods.spd.losses.minimality import firing
from interp_plugins.methods.spd.masked import fired_sums
from interp_plugins.methods.spd.masks import Masks, Parts
from interp_plugins.methods.spd.processes import Share
from interp_plugins.methods.spd.randomness import Draws
from interp_plugins.methods.spd.sigmoids import Squash, upper_leaky_hard

__all__ = ["Sampling", "Step", "begin_step", "split"]


@dataclass(frozen=True)
class Sampling:
    """How masks are drawn.

    Attributes:
        n_samples: Masks per stochastic loss.
        binary: Sources of 0 or 1 instead of uniform ones.
        delta: Whether the delta component takes part.
        distance: ``mse`` or ``kl``.
    """

    n_samples: int = 1
    binary: bool = False
    delta: bool = False
    distance: str = "mse"


@dataclass
class Step:
    """What every loss of one step shares.

    Attributes:
        model: The decomposition.
        known: The target's pass over the batch.
        inner: Inner activations on the target's activations, per module.
        unbounded: Importances before squashing, all modules side by side.
        lower: Causal importances for masks.
        squashers: Lower and upper squashing.
        draws: Source of random numbers.
        sampling: How masks are drawn.
        n_rows: Rows that the batch stands for, left-out rows included.
        row_weights: How many rows each row stands for; None for one each.
        progress: Share of the training that is done, in [0, 1].
        share: Which part of the batch this process computes.
    """

    model: Decomposition
    known: TargetPass
    inner: Parts
    unbounded: Float[Tensor, "*r n c"]
    lower: Float[Tensor, "*r n c"]
    squashers: tuple[Squash, Squash]
    draws: Draws
    sampling: Sampling
    n_rows: float
    row_weights: Float[Tensor, "*r n"] | None = None
    progress: float = 0.0
    share: Share = field(default_factory=Share)

    @cached_property
    def lower_parts(self) -> Parts:
        """Causal importances for masks, per module."""
        return split(self.lower, self.model.widths)

    @cached_property
    def upper(self) -> Float[Tensor, "*r n c"]:
        """Causal importances for the minimality losses."""
        return self.squashers[1](self.unbounded)

    def fired_sums(self, power: float | Tensor, eps: float, gamma: float | None = None) -> Float[Tensor, "*r c"]:
        """Return the sums over the batch of how much each importance counts; see ``losses.minimality.firing``."""
        if gamma is None and isinstance(power, float) and self.squashers[1] is upper_leaky_hard:
            sums = fired_sums(self.unbounded, self.row_weights, self.model.run_dims, power, eps)
        else:
            sums = self.batch_sum(firing(self.upper, power, eps, gamma))
        return self.share.total_with_gradient(sums)

    @property
    def lead(self) -> Size:
        """Leading shape of importances: runs, rows, positions."""
        return self.lower.shape[:-1]

    def distance(self, masks: Masks, only: str | None = None) -> Float[Tensor, "*r"]:
        """Return the mean distance between the output under masks and the target's output, per run."""
        output = self.model.masked_output(self.known, self.inner, masks, only)
        total, per_row = DISTANCES[self.sampling.distance](output, self.known.output, self.model.run_dims)
        return total / (self.n_rows * per_row)

    def batch_sum(self, values: Float[Tensor, "*r n c"]) -> Float[Tensor, "*r c"]:
        """Return the sum over the batch, left-out rows included."""
        if self.row_weights is not None:
            values = values * self.row_weights.unsqueeze(-1)
        return values.sum(tuple(range(self.model.run_dims, values.dim() - 1)))


def begin_step(
    model: Decomposition,
    batch: Any,
    squashers: tuple[Squash, Squash],
    draws: Draws,
    sampling: Sampling,
    row_weights: Float[Tensor, "*r n"] | None = None,
) -> Step:
    """Run the target and the importance functions on a batch: the part that all losses share."""
    known = model.target_pass(batch)
    inner = model.inner(known)
    unbounded = model.unbounded_importances(known, inner)
    jittered = unbounded
    if sampling.binary:  # moves importances off the edges, where a source of 0 or 1 would leave them
        jittered = 1.05 * unbounded - 0.05 * draws.uniform(unbounded.shape)
    lower = squashers[0](jittered)
    n_rows = float(rows_in(lower.shape[:-1], model.run_dims))
    if row_weights is not None:
        n_rows = float(row_weights[(0,) * model.run_dims].sum())
    return Step(model, known, inner, unbounded, lower, squashers, draws, sampling, n_rows, row_weights)


def split(values: Float[Tensor, "*r n c"], widths: Sequence[int]) -> Parts:
    """Return each module's part."""
    return values.split(list(widths), -1)
