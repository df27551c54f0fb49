"""Scores of items that must be matched: Winoground, choices, pairs and sets.

Axis letters: n items, o options.
"""

from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp_plugins.methods.bench.intervals import wilson_interval
from interp_registry.errors import DataError

__all__ = ["WINOGROUND_CHANCE", "choice", "choice_hits", "groups_right", "winoground", "winoground_hits"]

WINOGROUND_CHANCE = {"text_score": 0.25, "image_score": 0.25, "group_score": 1 / 6}


def winoground_hits(
    c0_i0: Float[Tensor, "n"], c0_i1: Float[Tensor, "n"], c1_i0: Float[Tensor, "n"], c1_i1: Float[Tensor, "n"]
) -> dict[str, Bool[Tensor, "n"]]:
    """Which items are right under the text, image and group scores (Thrush et al. 2022, eq. 1-3); all comparisons are strict."""
    text = (c0_i0 > c1_i0) & (c1_i1 > c0_i1)
    image = (c0_i0 > c0_i1) & (c1_i1 > c1_i0)
    return {"text_score": text, "image_score": image, "group_score": text & image}


def winoground(
    c0_i0: Float[Tensor, "n"], c0_i1: Float[Tensor, "n"], c1_i0: Float[Tensor, "n"], c1_i1: Float[Tensor, "n"]
) -> dict[str, object]:
    """Winoground's text, image and group scores in [0, 1]; ties count as wrong.

    Text: each image prefers its own caption. Image: each caption prefers its own image. Group: both. With four scores in random
    order 1/4, 1/4 and 1/6 of the items are right.

    Args:
        c0_i0: Score of caption 0 with image 0 of each item.
        c0_i1: Caption 0 with image 1.
        c1_i0: Caption 1 with image 0.
        c1_i1: Caption 1 with image 1.

    Returns:
        "text_score", "image_score", "group_score"; "chance" and "interval" (95 %) with the same keys.

    Raises:
        DataError: Lengths differ, there are no items, or a score is not finite.
    """
    parts = [torch.as_tensor(part).detach().cpu() for part in (c0_i0, c0_i1, c1_i0, c1_i1)]
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) != 1 or parts[0].ndim != 1 or not len(parts[0]):
        raise DataError(f"got scores of shapes {sorted(shapes)}, expected four vectors of the same length, not empty")
    if not all(torch.isfinite(part).all() for part in parts):
        raise DataError("a score is not finite")
    scores = {key: hits.double().mean().item() for key, hits in winoground_hits(*parts).items()}
    intervals = {key: wilson_interval(score, len(parts[0])) for key, score in scores.items()}
    return {**scores, "chance": dict(WINOGROUND_CHANCE), "interval": intervals}


def choice_hits(scores: Float[Tensor, "n o"], answers: Sequence[int] | Tensor, n_options: Tensor) -> Bool[Tensor, "n"]:
    """Whether the right option scores strictly above all other options of its item.

    Args:
        scores: Scores of the options, padded with any value.
        answers: The right option of each item.
        n_options: Number of options of each item.
    """
    answers = torch.as_tensor(answers).long()
    own = scores.gather(1, answers[:, None])
    columns = torch.arange(scores.shape[1])
    others = (columns[None, :] < n_options[:, None]) & (columns[None, :] != answers[:, None])
    return ~((scores >= own) & others).any(dim=1)


def groups_right(hits: Bool[Tensor, "n"], keys: Sequence[Hashable]) -> tuple[Bool[Tensor, "g"], list[Hashable]]:
    """For each key, whether all its items are right; keys in order of first occurrence. An empty key belongs to no group.

    Raises:
        DataError: There is not one key per item.
    """
    if len(keys) != len(hits):
        raise DataError(f"{len(keys)} group keys for {len(hits)} items")
    members: dict[Hashable, bool] = {}
    for key, hit in zip(keys, hits.tolist(), strict=True):
        if key not in ("", None):
            members[key] = members.get(key, True) and hit
    return torch.tensor(list(members.values()), dtype=torch.bool), list(members)


def choice(
    scores: Float[Tensor, "n o"], answers: Sequence[int] | Tensor, n_options: Tensor | None = None
) -> dict[str, object]:
    """Accuracy in [0, 1] of choosing the right option; ties count as wrong.

    Args:
        scores: Scores of the options, padded where items have fewer.
        answers: The right option of each item.
        n_options: Number of options of each item; default: all columns.

    Returns:
        "accuracy"; "chance" and "interval" (95 %) with the same key.

    Raises:
        DataError: Shapes do not fit or there are no items.
    """
    scores, answers = scores.detach().cpu(), torch.as_tensor(answers).cpu().long()
    if scores.ndim != 2 or answers.shape != scores.shape[:1] or not len(answers):
        raise DataError(
            f"got scores {list(scores.shape)} and {list(answers.shape)} answers, expected n x o and n, n > 0"
        )
    n_options = torch.full_like(answers, scores.shape[1]) if n_options is None else n_options.cpu()
    accuracy = choice_hits(scores, answers, n_options).double().mean().item()
    chance = (1 / n_options.double()).mean().item()
    return {
        "accuracy": accuracy,
        "chance": {"accuracy": chance},
        "interval": {"accuracy": wilson_interval(accuracy, len(answers))},
    }
