"""Signs of collapse: embeddings that fill few directions, or retrieval that falls.

Axis letters: n pairs, d features.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["CollapseAlarm", "effective_rank", "mean_cosine_of_others"]


def effective_rank(x: Float[Tensor, "n d"]) -> float:
    """Exponential of the entropy of the singular values' shares, in [1, min(n, d)] (Roy & Vetterli 2007); columns centred first.

    Rows that are all equal have rank 1 by convention.
    """
    values = torch.linalg.svdvals(x.double() - x.double().mean(dim=0, keepdim=True))
    shares = values / values.sum().clamp_min(torch.finfo(torch.float64).tiny)
    shares = shares[shares > 0]
    return max(1.0, (-(shares * shares.log()).sum()).exp().item())


def mean_cosine_of_others(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> float:
    """Mean cosine of rows that are no pair, in [-1, 1]; near 1 when everything points one way. Rows are of unit length."""
    n = len(x)
    total = x.double().sum(dim=0) @ y.double().sum(dim=0) - (x.double() * y.double()).sum()
    return (total / (n * (n - 1))).item()


MARGIN = 0.01


class CollapseAlarm:
    """Tells from evaluations when a training collapses, and remembers it.

    Raised when the smaller effective rank of the two towers is below max(4, d / 16), when R@1 falls below half of its best value
    after that was at least ten times chance, or when from the second evaluation on pairs are no more alike than others (their mean
    cosine is not larger by 0.01).

    Args:
        width: Width d of the joint embedding.
        chance: R@1 of random embeddings.
    """

    def __init__(self, width: int, chance: float) -> None:
        self.least_rank = max(4.0, width / 16)
        self.chance = chance
        self.best = 0.0
        self.n_seen = 0
        self.reasons: list[str] = []

    def look(self, step: int, rank: float, recall: float, margin: float) -> str | None:
        """Why the evaluation after ``step`` updates is a collapse, or None.

        Args:
            step: Number of updates.
            rank: Smaller effective rank of the two towers.
            recall: Mean R@1 of both directions.
            margin: Mean cosine of the pairs minus that of others.
        """
        reason = None
        if rank < self.least_rank:
            reason = f"step {step}: the embeddings fill {rank:.1f} directions, expected at least {self.least_rank:.0f}"
        elif self.best >= 10 * self.chance and recall < self.best / 2:
            reason = f"step {step}: R@1 fell from {self.best:.1%} to {recall:.1%}"
        elif self.n_seen >= 1 and margin < MARGIN:
            reason = f"step {step}: pairs are no more alike than others (mean cosines differ by {margin:.3f})"
        self.best, self.n_seen = max(self.best, recall), self.n_seen + 1
        if reason is not None:
            self.reasons.append(reason)
        return reason

    def state(self) -> dict[str, object]:
        """What a checkpoint has to hold."""
        return {"best": self.best, "n_seen": self.n_seen, "reasons": list(self.reasons)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        self.best, self.n_seen, self.reasons = float(state["best"]), int(state["n_seen"]), list(state["reasons"])
