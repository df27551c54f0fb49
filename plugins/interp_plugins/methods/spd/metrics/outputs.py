"""Metrics of outputs under masks: divergence, cross-entropy, any loss.

Axis letters: ``b`` batch, ``s`` positions, ``v`` vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.spd.distances import kl_per_position
from interp_plugins.methods.spd.evaluation import Evaluation, Measured
from interp_plugins.methods.spd.losses.adversarial import adversarial_distance, climb, initial_sources
from interp_plugins.methods.spd.losses.reconstruction import draw_masks, routed
from interp_plugins.methods.spd.masks import Masks
from interp_plugins.methods.spd.metric_config import CeKlConfig, LossMetricConfig, MultiBatchPgdConfig, SubsetCeKlConfig
from interp_plugins.methods.spd.step import Step, split
from interp_registry.errors import UsageError

__all__ = ["CrossEntropyAndKl", "LossValue", "MultiBatchPgd", "SubsetCrossEntropyAndKl", "next_token_cross_entropy"]


def next_token_cross_entropy(logits: Float[Tensor, "b s v"], ids: Int[Tensor, "b s"]) -> float:
    """Return the mean cross-entropy of every token but the first, in nats."""
    return float(F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()))


def _token_ids(step: Step, metric: str) -> Int[Tensor, "b s"]:
    ids = step.known.batch
    if not isinstance(ids, Tensor) or ids.is_floating_point():
        raise UsageError("cross-entropy needs a target that reads tokens", f"leave the metric {metric} out for toys")
    return ids


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
        ids = _token_ids(step, "ce_kl")
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


class SubsetCrossEntropyAndKl:
    """KL and cross-entropy with stochastic masks in some modules only."""

    def __init__(self, config: SubsetCeKlConfig) -> None:
        self.config = config

    @torch.no_grad()
    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return ``subset/<name>/kl``, ``/ce_difference`` and ``/ce_unrecovered`` (share of what zero masks everywhere lose).

        Raises:
            UsageError: The target does not read tokens, or a subset is empty.
        """
        names = [site.name for site in evaluation.model.sites]
        totals: dict[str, float] = {}
        for step in evaluation.steps:
            ids = _token_ids(step, "subset_ce_kl")
            base = next_token_cross_entropy(step.known.output, ids)
            zeros = Masks(kept=tuple(torch.zeros_like(part) for part in step.lower_parts))
            lost = next_token_cross_entropy(step.model.masked_output(step.known, step.inner, zeros), ids) - base
            for name, chosen in self._subsets(names).items():
                route = torch.tensor(chosen, device=step.lower.device).expand(*step.lead, len(names))
                masks = replace(draw_masks(step), routing=route)
                logits = step.model.masked_output(step.known, step.inner, masks)
                more = next_token_cross_entropy(logits, ids) - base
                found = {"kl": float(kl_per_position(logits, step.known.output).mean()), "ce_difference": more}
                found |= {"ce_unrecovered": more / lost} if lost else {}
                for key, value in found.items():
                    label = f"subset/{name}/{key}"
                    totals[label] = totals.get(label, 0.0) + value / len(evaluation.steps)
        return Measured(totals)

    def _subsets(self, names: Sequence[str]) -> dict[str, list[bool]]:
        """Return, per subset, which modules it holds."""

        def matching(patterns: Sequence[str]) -> list[bool]:
            return [any(fnmatch(name, pattern) for pattern in patterns) for name in names]

        subsets = {label: matching(patterns) for label, patterns in self.config.include.items()}
        subsets |= {label: [not x for x in matching(patterns)] for label, patterns in self.config.exclude.items()}
        for label, chosen in subsets.items():
            if not any(chosen):
                raise UsageError(f"the subset {label!r} holds no module", f"modules: {', '.join(names[:12])}")
        return subsets


class MultiBatchPgd:
    """Signed ascent of one set of sources on the summed gradients of all evaluation batches."""

    def __init__(self, config: MultiBatchPgdConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return ``loss/pgd_multi_batch``: the mean distance over the batches under the final sources."""
        c = self.config
        steps = evaluation.steps[: c.n_batches]
        routing = [None if c.routing == "all" else routed(Masks(), s, c.routing, c.probability) for s in steps]
        sources = initial_sources(steps[0], c.start, shared=True)
        for _ in range(c.n_steps):
            grads = [climb(step, sources, route, None) for step, route in zip(steps, routing, strict=True)]
            held = [source for source in sources if source is not None]
            moved = [
                (source + c.step_size * torch.stack(parts).sum(0).sign()).clamp(0.0, 1.0)
                for source, *parts in zip(held, *grads, strict=True)
            ]
            sources = (moved[0], moved[1] if len(moved) > 1 else None)
        with torch.no_grad():
            found = [float(adversarial_distance(s, sources, r)) for s, r in zip(steps, routing, strict=True)]
        return Measured({"loss/pgd_multi_batch": sum(found) / len(found)})


class LossValue:
    """A loss as a metric: the mean over the evaluation batches."""

    def __init__(self, config: LossMetricConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return ``loss/<type>``."""
        loss = self.config.loss.build()
        values = [float(loss(step).detach()) for step in evaluation.steps]
        return Measured({f"loss/{self.config.loss.get_choice_name(type(self.config.loss))}": sum(values) / len(values)})
