"""Metrics of outputs under masks: divergence, cross-entropy, any loss.

Axis letters: ``b`` batch, ``s`` positions, ``v`` vocabulary.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.spd.distances import kl_per_position
from interp_plugins.methods.spd.evaluation import Evaluation, Measured
from interp_plugins.methods.spd.losses.reconstruction import draw_masks
from interp_plugins.methods.spd.masks import Masks
from interp_plugins.methods.spd.metric_config import CeKlConfig, LossMetricConfig
from interp_plugins.methods.spd.step import Step, split
from interp_registry.errors import UsageError

__all__ = ["CrossEntropyAndKl", "LossValue", "next_token_cross_entropy"]


def next_token_cross_entropy(logits: Float[Tensor, "b s v"], ids: Int[Tensor, "b s"]) -> float:
    """Return the mean cross-entropy of every token but the first, in nats."""
    return float(F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()))


class CrossEntropyAndKl:
    """KL and cross-entropy under importances, ones, random numbers, rounded importances and zeros as masks."""

    def __init__(self, config: CeKlConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return ``kl/*``, ``ce_difference/*`` and ``ce_unrecovered/*`` (share of what zero masks lose).

        Raises:
            UsageError: If the target does not read tokens.
        """
        totals: dict[str, float] = {}
        steps = evaluation.steps
        for step in steps:
            for name, value in self._batch(step).items():
                totals[name] = totals.get(name, 0.0) + value / len(steps)
        return Measured(totals)

    @torch.no_grad()
    def _batch(self, step: Step) -> dict[str, float]:
        ids = step.known.batch
        if not isinstance(ids, Tensor) or ids.is_floating_point():
            raise UsageError("cross-entropy needs a target that reads tokens", "leave the metric ce_kl out for toys")
        threshold = self.config.rounding_threshold
        masks: dict[str, Callable[[], Masks]] = {
            "ci_masked": lambda: Masks(kept=step.lower_parts),
            "unmasked": Masks,
            "stoch_masked": lambda: draw_masks(step),
            "random_masked": lambda: Masks(kept=split(step.draws.uniform(step.lower.shape), step.model.widths)),
            "rounded_masked": lambda: Masks(kept=tuple((part > threshold).to(part.dtype) for part in step.lower_parts)),
            "zero_masked": lambda: Masks(kept=tuple(torch.zeros_like(part) for part in step.lower_parts)),
        }
        found: dict[str, float] = {}
        base = next_token_cross_entropy(step.known.output, ids)
        for name, make in masks.items():
            logits = step.model.masked_output(step.known, step.inner, make())
            found[f"kl/{name}"] = float(kl_per_position(logits, step.known.output).mean())
            found[f"ce_difference/{name}"] = next_token_cross_entropy(logits, ids) - base
        lost = found["ce_difference/zero_masked"]
        unrecovered = {name: found[f"ce_difference/{name}"] / lost for name in masks if lost}
        return found | {f"ce_unrecovered/{name}": value for name, value in unrecovered.items()}


class LossValue:
    """A loss as a metric: the mean over the evaluation batches."""

    def __init__(self, config: LossMetricConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return ``loss/<type>``."""
        loss = self.config.loss.build()
        values = [float(loss(step).detach()) for step in evaluation.steps]
        return Measured({f"loss/{self.config.loss.get_choice_name(type(self.config.loss))}": sum(values) / len(values)})
