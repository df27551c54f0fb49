"""What the training loop drives: batches, masks and losses of a decomposition.

Random numbers come from generators made for one purpose and step, so a resumed run draws what an uninterrupted one draws.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.config import DecomposeConfig
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.factored import written_out
from interp_plugins.methods.spd.loss_config import PersistentReconConfig
from interp_plugins.methods.spd.optimiser import SequentialAdamW, decomposition_optimiser
from interp_plugins.methods.spd.processes import Share, SharedDraws
from interp_plugins.methods.spd.randomness import Draws
from interp_plugins.methods.spd.sigmoids import squashers
from interp_plugins.methods.spd.sparse_data import nonzero_rows
from interp_plugins.methods.spd.step import Sampling, Step, begin_step
from interp_registry.errors import UsageError
from interp_registry.figures import HeatMap
from interp_registry.tensors.seeding import generator

__all__ = ["DecompositionTraining", "Weights", "clip_runs", "export_weights", "import_weights", "zero_rows_stay_zero"]

_SHOWN_COMPONENTS = 48

Batches = Callable[[int, torch.Generator], Any]
"""Number of rows and a generator -> a batch."""


@runtime_checkable
class _KeepsState(Protocol):
    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: dict[str, Tensor]) -> None: ...


@dataclass(frozen=True)
class Weights:
    """What differs between the runs of a batch: one number per run for each loss, or one for all.

    Attributes:
        coeffs: Loss label -> coefficient, a number or a tensor with one per run.
    """

    coeffs: Mapping[str, float | Tensor]


class DecompositionTraining:
    """One decomposition (or several in a batch), as something that can be trained.

    Args:
        model: The decomposition; its target decides about run dimensions.
        config: What to train on.
        batches: Source of batches.
        seed: Seed of the run.
        weights: Coefficients per run, where they differ.
        share: Which part of every batch this process computes.
    """

    def __init__(
        self,
        model: Decomposition,
        config: DecomposeConfig,
        batches: Batches,
        seed: int,
        weights: Weights | None = None,
        share: Share | None = None,
    ) -> None:
        self.model, self.config, self.batches, self.seed = model, config, batches, seed
        self.share = share or Share()
        if config.accumulate < 1 or config.batch_size % config.accumulate:
            raise UsageError(
                f"a batch of {config.batch_size} rows cannot be computed in {config.accumulate} equal parts",
                "let accumulate divide batch_size",
            )
        if _per_row(config) and not self.share.alone:
            raise UsageError("sources kept for every row cannot be shared by several processes", "use scope 'shared'")
        self.losses = self.fresh_losses()
        self.weights = weights or Weights({label: loss.coeff for label, loss in config.losses.items()})
        self.squashers = squashers(config.sigmoid, config.leak)
        self.sampling = Sampling(config.n_mask_samples, config.sampling == "binomial", config.delta, config.distance)
        self.device = model.component_parameters()[0].device
        self._last: tuple[Tensor, Tensor | None] | None = None
        self.optimiser = decomposition_optimiser(model, config.learning_rate)
        self.skips_zero_rows = config.skip_zero_rows and zero_rows_stay_zero(model, batches) and not _per_row(config)

    def optimisers(self) -> dict[str, SequentialAdamW]:
        """The one optimiser of components and importance functions."""
        return {"decomposition": self.optimiser}

    def fresh_losses(self) -> dict[str, Any]:
        """The losses of the configuration, without anything that they keep across steps."""
        return {label: loss.build() for label, loss in self.config.losses.items()}

    def begin(self, i: int) -> Step:
        """Draw batch ``i`` (with ``accumulate``, part ``i`` of all) and run what all losses share."""
        n_rows = self.config.batch_size // self.config.accumulate
        batch = self.batches(n_rows, generator(self.seed, "spd data", i, device=self.device))
        row_weights, run_dims = None, self.model.run_dims
        if self.skips_zero_rows:
            batch, row_weights = nonzero_rows(batch)
        source, n_rows = generator(self.seed, "spd masks", i, device=self.device), batch.shape[run_dims]
        draws = Draws(source) if self.share.alone else SharedDraws(source, self.share, n_rows, run_dims)
        total = float(n_rows) if row_weights is None else float(row_weights[(0,) * run_dims].sum())
        mine = self.share.take(batch, run_dims)
        weights = None if row_weights is None else self.share.take(row_weights, run_dims)
        step = begin_step(self.model, mine, self.squashers, draws, self.sampling, weights)
        if not self.share.alone:
            step.n_rows = step.n_rows * n_rows / mine.shape[run_dims] if row_weights is None else total
        update = i // self.config.accumulate
        step.progress, step.share = update / max(1, self.config.steps), self.share
        return step

    def step(self, i: int) -> dict[str, Tensor]:
        """Return the total loss of batch ``i`` as "loss", and each term; sums over runs, and means over runs."""
        total, terms = self.run_losses(i)
        loss = total.sum()
        found = self.share.global_values({"loss": loss.detach(), **{label: v.mean() for label, v in terms.items()}})
        return found | {"loss": loss + (found["loss"].to(loss.dtype) - loss).detach()}

    def run_losses(self, i: int) -> tuple[Float[Tensor, "*r"], dict[str, Float[Tensor, "*r"]]]:
        """Return every run's total loss of batch ``i``, and every run's terms, detached."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            step = self.begin(i)
            self._last = step.lower.detach(), step.row_weights
            terms: dict[str, Tensor] = {}
            total: Tensor | float = 0.0
            for label, loss in self.losses.items():
                coeff = self.weights.coeffs[label]
                with torch.set_grad_enabled(isinstance(coeff, Tensor) or coeff != 0):
                    value = loss(step)
                terms[label] = value.detach()
                if value.requires_grad:
                    total = total + coeff * value
        return torch.as_tensor(total), terms

    def activity(self) -> HeatMap | None:
        """Mean causal importance of each component over the last batch (the first run's), the most active first."""
        if self._last is None:
            return None
        lower, weights = self._last
        first = (0,) * self.model.run_dims
        rows = lower[first].float().flatten(0, -2)
        share = None if weights is None else (weights[first] / weights[first].sum()).flatten().to(rows.dtype)
        means = rows.mean(0) if share is None else share @ rows
        parts = [part.sort(descending=True).values[:_SHOWN_COMPONENTS] for part in means.split(list(self.model.widths))]
        n_columns = max(len(part) for part in parts)
        values = [[round(value, 4) for value in part.tolist()] + [math.nan] * (n_columns - len(part)) for part in parts]
        columns = tuple(str(k + 1) for k in range(n_columns))
        return HeatMap(
            values,
            tuple(site.name for site in self.model.sites),
            columns,
            column_title="components",
            title="mean causal importance, most active first",
        )

    def before_update(self, step: int) -> dict[str, float]:
        """Add up gradients over processes; clip those of components and importance functions apart, where asked."""
        del step
        self.share.sum_gradients(self.model.parameters())
        return {name: float(norms.mean()) for name, norms in self.clip().items()}

    def clip(self) -> dict[str, Float[Tensor, "*r"]]:
        """Shorten gradients that are longer than asked; return the norms that every run's had."""
        parts = {
            "components": (self.config.clip_components, self.model.component_parameters()),
            "importance": (self.config.clip_importance, list(self.model.importance.parameters())),
        }
        limited = {name: (limit, held) for name, (limit, held) in parts.items() if limit is not None}
        return {
            f"grad_norm/{name}": clip_runs(held, limit, self.model.run_dims) for name, (limit, held) in limited.items()
        }

    def state(self) -> dict[str, Any]:
        """Weights, and what losses keep across steps."""
        kept = {label: loss.state() for label, loss in self.losses.items() if isinstance(loss, _KeepsState)}
        return {"weights": export_weights(self.model), "losses": kept}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        import_weights(self.model, state["weights"])
        for label, kept in state.get("losses", {}).items():
            loss = self.losses[label]
            if isinstance(loss, _KeepsState):
                loss.load(kept)


@torch.no_grad()
def clip_runs(parameters: Sequence[Tensor], limit: float, run_dims: int) -> Float[Tensor, "*r"]:
    """Shorten every run's gradient to ``limit``, as it would be shortened alone; return the norms that they had."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([grad.square().reshape(*grad.shape[:run_dims], -1).sum(-1) for grad in grads]).sum(0).sqrt()
    shares = (limit / (norms + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(shares.reshape(*shares.shape, *[1] * (grad.dim() - run_dims)))
    return norms


def export_weights(model: Decomposition) -> dict[str, Tensor]:
    """Return every trained tensor under a name of its own: ``components.<site>.V`` (input by component) and so on."""
    weights: dict[str, Tensor] = {}
    for site in model.sites:
        weights[f"components.{site.name}.V"] = model.v(site.name).detach().clone().contiguous()
        weights[f"components.{site.name}.U"] = model.u(site.name).detach().clone().contiguous()
    weights |= {f"importance.{name}": value.detach().clone() for name, value in model.importance.named_parameters()}
    return weights


@torch.no_grad()
def import_weights(model: Decomposition, weights: Mapping[str, Tensor]) -> None:
    """Take back what :func:`export_weights` gave; tied factors stay tied."""
    for site in model.sites:
        model.v(site.name).copy_(weights[f"components.{site.name}.V"])
        model.u(site.name).copy_(weights[f"components.{site.name}.U"])
    for name, value in model.importance.named_parameters():
        value.copy_(weights[f"importance.{name}"])


def zero_rows_stay_zero(model: Decomposition, batches: Batches) -> bool:
    """Return whether a zero input makes the input of every decomposed matrix zero.

    Then all zero rows have the same importances, and components under any masks give them the target's own output: their
    reconstruction loss is zero and one row can stand for them all.
    """
    device = model.component_parameters()[0].device
    sample = batches(1, torch.Generator(device).manual_seed(0))
    if not isinstance(sample, Tensor) or not sample.is_floating_point():
        return False
    known = model.target_pass(torch.zeros_like(sample))
    return all(not written_out(x).any() for x in known.inputs.values())


def _per_row(config: DecomposeConfig) -> bool:
    """Whether a loss keeps sources for every row of a fixed batch."""
    return any(isinstance(loss, PersistentReconConfig) and loss.scope == "per_row" for loss in config.losses.values())
