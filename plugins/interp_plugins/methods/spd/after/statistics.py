"""Statistics of components over data: how often and how strongly they matter, together with which others, on what.

Axis letters: ``n`` rows (batch and position), ``c`` components of all modules side by side, ``k`` examples, ``t`` tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.evaluation import Evaluation

__all__ = ["Harvest", "component_names", "harvest", "precision_recall_pmi"]


@dataclass(frozen=True)
class Harvest:
    """What one pass over the data gathered; rows left out as zero are counted.

    Attributes:
        names: ``<module>:<number>`` of every component.
        n_rows: Rows seen.
        mean_importance: Mean importance of each component.
        density: Share of rows on which each fires.
        together: Number of rows on which two components fire both.
        examples: For each component its strongest rows, as (importance, row number).
        rows: The rows that the examples refer to.
        token_counts: For a language model, how often each component fires on each input token.
    """

    names: tuple[str, ...]
    n_rows: float
    mean_importance: Float[Tensor, "c"]
    density: Float[Tensor, "c"]
    together: Float[Tensor, "c c"]
    examples: list[list[tuple[float, int]]]
    rows: Any
    token_counts: Float[Tensor, "c t"] | None = None


def component_names(evaluation: Evaluation) -> tuple[str, ...]:
    """Return a name for every component of all modules side by side."""
    return tuple(f"{site.name}:{i}" for site in evaluation.model.sites for i in range(site.n_components))


@torch.no_grad()
def harvest(evaluation: Evaluation, threshold: float, n_examples: int = 8, vocabulary: int | None = None) -> Harvest:
    """Gather statistics over the evaluation batches.

    Args:
        evaluation: The decomposition and its batches.
        threshold: Importance from which a component fires.
        n_examples: Strongest rows to keep per component.
        vocabulary: Size of the vocabulary of a language model.
    """
    names = component_names(evaluation)
    importance = torch.cat([step.lower.flatten(0, -2) for step in evaluation.steps])
    weights = torch.cat([_row_weights(step) for step in evaluation.steps])
    fires = (importance > threshold).to(importance.dtype)
    n_rows = float(weights.sum())
    weighted = fires * weights.unsqueeze(-1)
    top = importance.topk(min(n_examples, len(importance)), dim=0)
    examples = [
        [(float(v), int(i)) for v, i in zip(top.values[:, c], top.indices[:, c], strict=True) if v > threshold]
        for c in range(len(names))
    ]
    rows = [step.known.batch for step in evaluation.steps]
    tokens = None
    if vocabulary is not None:
        ids = torch.cat([batch.flatten() for batch in rows])
        tokens = torch.zeros(vocabulary, len(names), device=ids.device).index_add_(0, ids, weighted).T
    return Harvest(
        names,
        n_rows,
        (importance * weights.unsqueeze(-1)).sum(0) / n_rows,
        weighted.sum(0) / n_rows,
        weighted.T @ fires,
        examples,
        rows,
        tokens,
    )


def _row_weights(step: Any) -> Tensor:
    if step.row_weights is not None:
        return step.row_weights
    return torch.ones(step.lower.flatten(0, -2).shape[0], device=step.lower.device)


def precision_recall_pmi(
    together: Float[Tensor, "c c"], n_rows: float
) -> tuple[Float[Tensor, "c c"], Float[Tensor, "c c"], Float[Tensor, "c c"]]:
    """Return P(j fires | i fires), P(i fires | j fires) and the pointwise mutual information in nats.

    Args:
        together: Rows on which two components fire both; the diagonal counts each component alone.
        n_rows: Rows in all.
    """
    alone = together.diagonal()
    precision = together / alone.clamp_min(1e-12).unsqueeze(1)
    recall = together / alone.clamp_min(1e-12).unsqueeze(0)
    joint = together / n_rows
    chance = (alone / n_rows).unsqueeze(1) * (alone / n_rows).unsqueeze(0)
    pmi = torch.where(joint > 0, torch.log(joint.clamp_min(1e-30) / chance.clamp_min(1e-30)), -torch.inf)
    return precision, recall, pmi
