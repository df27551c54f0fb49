"""Scaling components of a target and measuring what changes.

The rest of a matrix, delta included, stays: ``W + (factor - 1) sum_c V_c U_c``.

Axis letters: ``i`` inputs, ``o`` outputs.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.distances import kl_per_position
from interp_plugins.methods.spd.evaluation import Evaluation
from interp_plugins.methods.spd.masks import Masks
from interp_plugins.methods.spd.step import Step
from interp_registry.errors import UsageError

__all__ = ["edited_weight", "measure_edit", "parse_components"]


def parse_components(names: Sequence[str], model: Decomposition) -> dict[str, list[int]]:
    """Return module -> numbers from names such as ``linear1:3``.

    Raises:
        UsageError: No component is named, or there is none of that name.
    """
    chosen: dict[str, list[int]] = {}
    for name in (part.strip() for item in names for part in item.split(",") if part.strip()):
        module, _, number = name.rpartition(":")
        if module not in model.index or not number.isdigit() or int(number) >= model.widths[model.index[module]]:
            known = ", ".join(f"{m}:0..{model.widths[i] - 1}" for m, i in model.index.items())
            raise UsageError(f"there is no component {name!r}", f"write MODULE:NUMBER; there are {known}")
        chosen.setdefault(module, []).append(int(number))
    if not chosen:
        raise UsageError("no component is named", "give --components MODULE:NUMBER,...")
    return chosen


def edited_weight(model: Decomposition, name: str, numbers: list[int], factor: float) -> Float[Tensor, "i o"]:
    """Return a module's matrix with some of its components scaled."""
    return model.weight(name) + (factor - 1) * model.v(name)[:, numbers] @ model.u(name)[numbers]


@torch.no_grad()
def measure_edit(
    evaluation: Evaluation, chosen: Mapping[str, list[int]], factor: float, threshold: float
) -> dict[str, float]:
    """Return the change of the output, over all rows and apart for rows on which an edited component matters.

    The change is the mean squared difference of a toy's outputs, the divergence in nats of a language model's.

    Args:
        evaluation: The decomposition and batches.
        chosen: Module -> numbers of the components to scale.
        factor: What they are multiplied by.
        threshold: Importance from which a component counts as in use.
    """
    sums = {"used": 0.0, "unused": 0.0}
    counts = {"used": 0.0, "unused": 0.0}
    for step in evaluation.steps:
        change, used = _change(step, chosen, factor, evaluation.config.distance), _used(step, chosen, threshold)
        weight = torch.ones_like(change) if step.row_weights is None else step.row_weights
        for name, rows in (("used", used), ("unused", ~used)):
            sums[name] += float((change * weight)[rows].sum())
            counts[name] += float(weight[rows].sum())
    total = sum(counts.values())
    return {
        "change": sum(sums.values()) / total,
        "change_where_used": sums["used"] / counts["used"] if counts["used"] else 0.0,
        "change_elsewhere": sums["unused"] / counts["unused"] if counts["unused"] else 0.0,
        "share_of_rows_used": counts["used"] / total,
    }


def _change(step: Step, chosen: Mapping[str, list[int]], factor: float, distance: str) -> Tensor:
    model = step.model
    kept = []
    for site, h in zip(model.sites, step.inner, strict=True):
        mask = torch.ones_like(h)
        mask[..., chosen.get(site.name, [])] = factor
        kept.append(mask)
    deltas = torch.ones(*step.lead, len(model.sites), device=kept[0].device)
    output = model.masked_output(step.known, step.inner, Masks(kept=tuple(kept), deltas=deltas))
    if distance == "kl":
        return kl_per_position(output, step.known.output).flatten()
    return (output - step.known.output).square().mean(-1)


def _used(step: Step, chosen: Mapping[str, list[int]], threshold: float) -> Tensor:
    parts = [step.lower_parts[step.model.index[name]][..., numbers] for name, numbers in chosen.items()]
    return (torch.cat(parts, -1) > threshold).any(-1).flatten()
