"""Zero-shot classification scores.

Axis letters: n items, c classes, d features.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp_plugins.methods.bench.intervals import wilson_interval
from interp_registry.errors import DataError

__all__ = ["class_weights", "classification", "label_ranks"]


def label_ranks(logits: Float[Tensor, "n c"], labels: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Rank, from 1, of the right class; a class that ties with it ranks before it."""
    own = logits.gather(1, labels[:, None])
    return (logits >= own).sum(dim=1)


def classification(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, "n"], *, compat: bool = False
) -> dict[str, object]:
    """Top-1, top-5 and mean per-class recall, all in [0, 1]; ties with a wrong class count as wrong.

    The mean per-class recall is over the classes that occur in the labels. Top-5 is NaN with fewer than five classes.

    Args:
        logits: Scores of the classes.
        labels: The right classes.
        compat: The earlier study's top-5, which with fewer classes takes all of them.

    Returns:
        "top1_accuracy", "top5_accuracy", "mean_per_class_recall"; "chance" and "interval" (95 %) with the same keys.

    Raises:
        DataError: Shapes or labels do not fit, or a score is not finite.
    """
    logits, labels = logits.detach().cpu(), torch.as_tensor(labels).cpu().long()
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise DataError(f"got scores {list(logits.shape)} and labels {list(labels.shape)}, expected n x c and n, n > 0")
    n, n_classes = logits.shape
    if labels.min() < 0 or labels.max() >= n_classes:
        raise DataError(f"labels reach from {int(labels.min())} to {int(labels.max())}, expected 0 .. {n_classes - 1}")
    if not torch.isfinite(logits).all():
        raise DataError("a class score is not finite")
    ranks = label_ranks(logits, labels)
    defined = n_classes >= 5 or compat
    scores = {
        "top1_accuracy": (ranks <= 1).double().mean().item(),
        "top5_accuracy": (ranks <= 5).double().mean().item() if defined else math.nan,
        "mean_per_class_recall": _per_class_recall(ranks <= 1, labels)[0],
    }
    chance = {
        "top1_accuracy": 1 / n_classes,
        "top5_accuracy": min(1.0, 5 / n_classes) if defined else math.nan,
        "mean_per_class_recall": 1 / n_classes,
    }
    intervals = {key: wilson_interval(scores[key], n) for key in ("top1_accuracy", "top5_accuracy")}
    intervals["mean_per_class_recall"] = _recall_interval(ranks <= 1, labels)
    return {**scores, "chance": chance, "interval": intervals}


def _per_class_recall(hits: Bool[Tensor, "n"], labels: Int[Tensor, "n"]) -> tuple[float, Tensor, Tensor]:
    counts = torch.bincount(labels).double()
    right = torch.bincount(labels, weights=hits.double())
    occurs = counts > 0
    recalls = right[occurs] / counts[occurs]
    return recalls.mean().item(), recalls, counts[occurs]


def _recall_interval(hits: Bool[Tensor, "n"], labels: Int[Tensor, "n"]) -> tuple[float, float]:
    mean, recalls, counts = _per_class_recall(hits, labels)
    n_classes = len(counts)
    smoothed = (recalls * counts + 1) / (counts + 2)
    variance = (smoothed * (1 - smoothed) / counts).sum() / n_classes**2
    half = 1.959963984540054 * variance.sqrt().item()
    return max(0.0, mean - half), min(1.0, mean + half)


def class_weights(prompts: Float[Tensor, "p d"], owner: Int[Tensor, "p"]) -> Float[Tensor, "c d"]:
    """Unit row per class: the mean of its unit prompt embeddings (Radford et al. 2021, section 3.1.4).

    Args:
        prompts: Embeddings of all prompts.
        owner: Class of each prompt.

    Raises:
        DataError: A class has no prompt.
    """
    owner, n_classes = owner.to(prompts.device), int(owner.max()) + 1
    unit = prompts / prompts.norm(dim=1, keepdim=True).clamp_min(torch.finfo(prompts.dtype).tiny)
    counts = torch.bincount(owner, minlength=n_classes)
    if (counts == 0).any():
        raise DataError(f"class {int((counts == 0).nonzero()[0])} has no prompt")
    sums = unit.new_zeros(n_classes, prompts.shape[1]).index_add_(0, owner, unit)
    means = sums / counts[:, None]
    return means / means.norm(dim=1, keepdim=True).clamp_min(torch.finfo(prompts.dtype).tiny)
