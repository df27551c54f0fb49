"""Linear probe: a logistic regression on frozen image embeddings.

Axis letters: n samples, e joint embedding.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_registry.errors import DataError

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

__all__ = ["LinearProbe", "linear_probe"]

STRENGTHS = tuple(10.0**power for power in range(-2, 5))


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe.

    Attributes:
        scores: Class scores of the test samples.
        strength: The inverse regularisation that was chosen.
        validation_accuracy: Accuracy on the held-out fifth of the training samples with it.
    """

    scores: Float[Tensor, "n c"]
    strength: float
    validation_accuracy: float


def linear_probe(
    train: Float[Tensor, "n e"],
    labels: Int[Tensor, "n"],
    test: Float[Tensor, "m e"],
    n_classes: int,
    seed: int = 0,
) -> LinearProbe:
    """Class scores of a logistic regression whose strength is chosen on a fifth of the training samples (Radford et al. 2021, A.3).

    Args:
        train: Training embeddings.
        labels: Their classes.
        test: Embeddings to score.
        n_classes: Number of classes; those that the training samples lack score minus infinity.
        seed: Seed of the split.

    Raises:
        DataError: Fewer than two classes or ten training samples.
    """
    if len(train) < 10 or labels.unique().numel() < 2:
        raise DataError(f"{len(train)} training samples of {labels.unique().numel()} classes: a probe needs 10 and 2")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).numpy()
    held_out, kept = order[: len(order) // 5], order[len(order) // 5 :]
    x, y = train.double().numpy(), labels.numpy()
    accuracy = {c: _fit(x[kept], y[kept], c).score(x[held_out], y[held_out]) for c in STRENGTHS}
    strength = max(STRENGTHS, key=lambda c: (accuracy[c], -c))
    model = _fit(x, y, strength)
    decision = np.atleast_2d(model.decision_function(test.double().numpy()))
    if len(model.classes_) == 2:
        decision = np.stack([-decision.ravel(), decision.ravel()], axis=1)
    scores = torch.full((len(test), n_classes), -1e9, dtype=torch.float64)
    scores[:, torch.from_numpy(model.classes_)] = torch.from_numpy(decision)
    return LinearProbe(scores, strength, float(accuracy[strength]))


def _fit(x: np.ndarray, y: np.ndarray, strength: float) -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=2000, tol=1e-4).fit(x, y)
