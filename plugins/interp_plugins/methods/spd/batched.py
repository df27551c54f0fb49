"""Several decompositions of one toy target side by side in one process, along a leading run dimension.

Each run draws its components, batches and masks from its own seed, exactly as it would alone, so that it ends where it would have ended
alone, up to rounding. Learning rates, coefficients and the exponent p may differ between runs as well.

Axis letters: ``r`` runs, ``n`` rows (padded to the longest run), ``f`` features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.inputs import Problem
from interp_plugins.methods.spd.loss_config import ImportanceMinimalityConfig
from interp_plugins.methods.spd.randomness import Draws
from interp_plugins.methods.spd.sparse_data import nonzero_rows
from interp_plugins.methods.spd.step import Step, begin_step
from interp_plugins.methods.spd.training import DecompositionTraining, Weights
from interp_plugins.methods.spd.warmup import begin_decomposition
from interp_registry.errors import UsageError
from interp_registry.tensors.seeding import generator

__all__ = ["BatchedTraining", "Point", "RunDraws"]


@dataclass(frozen=True)
class Point:
    """What one run of a batch has for itself.

    Attributes:
        seed: Seed of components, batches and masks.
        rate: Factor of the learning rate.
        coeffs: Loss label -> coefficient, where it differs from the configuration's.
        powers: Label of an importance minimality -> exponent p, where it differs from the configuration's.
    """

    seed: int
    rate: float = 1.0
    coeffs: dict[str, float] = field(default_factory=dict)
    powers: dict[str, float] = field(default_factory=dict)


class RunDraws(Draws):
    """Draws of several runs, each from its own generator.

    Args:
        generators: One per run.
        counts: Rows that each run has; the last of them stands last in the padded rows, the others first.
    """

    def __init__(self, generators: Sequence[torch.Generator], counts: Sequence[int]) -> None:
        super().__init__(generators[0])
        self._generators, self._counts = list(generators), list(counts)

    def uniform(self, shape: Sequence[int], rows_after: int | None = 0) -> Float[Tensor, "..."]:
        """Draw uniform numbers in [0, 1); zero for rows that only fill up."""
        return self._each(shape, rows_after, lambda size, g: torch.rand(size, generator=g, device=g.device))

    def integers(self, low: int, high: int, shape: Sequence[int], rows_after: int | None = 0) -> Int[Tensor, "..."]:
        """Draw integers from ``low`` to ``high - 1``; zero for rows that only fill up."""
        return self._each(
            shape, rows_after, lambda size, g: torch.randint(low, high, size, generator=g, device=g.device)
        )

    def _each(
        self, shape: Sequence[int], rows_after: int | None, draw: Callable[[tuple[int, ...], torch.Generator], Tensor]
    ) -> Tensor:
        axis = rows_after or 0
        before, after = list(shape[:axis]), list(shape[axis + 1 :])
        parts: list[Tensor] = []
        for source, count in zip(self._generators, self._counts, strict=True):
            if rows_after is None:
                parts.append(draw((*before, *after), source))
                continue
            drawn = draw((*before, count, *after[1:]), source)
            rows, last = drawn.split([count - 1, 1], axis)
            gap = drawn.new_zeros(*before, after[0] - count, *after[1:])
            parts.append(torch.cat([rows, gap, last], axis))
        return torch.stack(parts, axis)


class BatchedTraining(DecompositionTraining):
    """Several runs as one training.

    Args:
        config: The decomposition that they have in common.
        problem: A toy target and its data.
        points: What each run has for itself.

    Attributes:
        points: What each run has for itself.
        each: Every run's losses of the last step, by label; the total as "loss".

    Raises:
        UsageError: The target is no toy, a batch is accumulated, or a point names an unknown loss.
    """

    def __init__(self, config: DecomposeConfig, problem: Problem, points: Sequence[Point]) -> None:
        _check(config, problem, points)
        weights = {name: torch.stack([w] * len(points)) for name, w in problem.weights.items()}
        target = config.target.build().target(weights)
        self.points, self._data = list(points), problem.batches
        self._seeds = [point.seed for point in points]
        self.each: dict[str, Tensor] = {}
        self._singles = [begin_decomposition(config, problem, point.seed) for point in points]
        device = next(iter(weights.values())).device
        model = build_decomposition(config, target, torch.Generator(device).manual_seed(0))
        if config.compile:
            model.importance.use_compiler()
        with torch.no_grad():
            for mine, *theirs in zip(
                model.parameters(), *[single.parameters() for single in self._singles], strict=True
            ):
                mine.copy_(torch.stack(theirs))
        coeffs: dict[str, float | Tensor] = {
            label: torch.tensor([point.coeffs.get(label, loss.coeff) for point in points], device=device)
            for label, loss in config.losses.items()
        }
        super().__init__(model, config, self._batches, points[0].seed, Weights(coeffs))
        self.optimiser.scale_runs(torch.tensor([point.rate for point in points], device=device))

    def _batches(self, n_rows: int, source: torch.Generator) -> Tensor:
        return torch.stack([self._data(n_rows, source) for _ in self.points])

    def fresh_losses(self) -> dict[str, Any]:
        """The losses of the configuration, each importance minimality with every run's own exponent."""
        losses = super().fresh_losses()
        device = self.model.component_parameters()[0].device
        for label, loss in self.config.losses.items():
            if isinstance(loss, ImportanceMinimalityConfig) and any(label in point.powers for point in self.points):
                powers = [float(point.powers.get(label, loss.p)) for point in self.points]
                same = len(set(powers)) == 1
                losses[label].p = powers[0] if same else torch.tensor(powers, device=device).view(-1, 1, 1)
        return losses

    def begin(self, i: int) -> Step:
        """Draw every run's own batch ``i`` and run what all losses share."""
        rows = [
            self._data(self.config.batch_size, generator(seed, "spd data", i, device=self.device))
            for seed in self._seeds
        ]
        batch, weights, counts = torch.stack(rows), None, [self.config.batch_size] * len(rows)
        if self.skips_zero_rows:
            batch, weights = nonzero_rows(batch)
            counts = [int(row.ne(0).any(-1).sum()) + 1 for row in rows]
        sources = [generator(seed, "spd masks", i, device=self.device) for seed in self._seeds]
        step = begin_step(self.model, batch, self.squashers, RunDraws(sources, counts), self.sampling, weights)
        step.progress = i / max(1, self.config.steps)
        return step

    def run_losses(self, i: int) -> tuple[Float[Tensor, "r"], dict[str, Float[Tensor, "r"]]]:
        """Return every run's total loss of batch ``i`` and its terms, and keep them."""
        total, terms = super().run_losses(i)
        self.each = {"loss": total.detach(), **terms}
        return total, terms

    def clip(self) -> dict[str, Float[Tensor, "r"]]:
        """Shorten every run's gradients; keep the norms beside its losses."""
        norms = super().clip()
        self.each |= norms
        return norms

    def judge(self, seeds: Sequence[int], n_batches: int) -> Float[Tensor, "r"]:
        """Return every run's mean loss over batches after the last of its training, drawn from these seeds."""
        kept = self._seeds, self.losses, self.each
        self._seeds, self.losses = list(seeds), self.fresh_losses()
        found = [self.run_losses(self.config.steps + i)[0].detach() for i in range(n_batches)]
        self._seeds, self.losses, self.each = kept
        return torch.stack(found).mean(0)

    def separate(self) -> list[Decomposition]:
        """Return each run's decomposition as one of its own, without a run dimension."""
        with torch.no_grad():
            for i, single in enumerate(self._singles):
                for mine, theirs in zip(single.parameters(), self.model.parameters(), strict=True):
                    mine.copy_(theirs[i])
        return self._singles


def _check(config: DecomposeConfig, problem: Problem, points: Sequence[Point]) -> None:
    if not problem.weights:
        raise UsageError("only toy targets are decomposed side by side", "run the seeds one after another")
    if config.accumulate != 1:
        raise UsageError("accumulated batches are not for runs side by side", "run the seeds one after another")
    unknown = {label for point in points for label in (*point.coeffs, *point.powers)} - set(config.losses)
    if unknown:
        raise UsageError(
            f"the losses {sorted(unknown)} are not in the configuration", f"known: {', '.join(config.losses)}"
        )
