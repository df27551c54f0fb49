"""Retrieval in both directions with several captions per image.

Axis letters: i images, t texts, q queries, d features.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp_plugins.methods.bench.intervals import bootstrap_interval, design_effect, wilson_interval
from interp_registry.errors import DataError

__all__ = ["RECALL_AT", "best_positive_ranks", "chance_levels", "retrieval"]

RECALL_AT = (1, 5, 10)
TIE_TOLERANCE = 1e-12
CHUNK = 1024

Direction = dict[str, float]


def best_positive_ranks(
    queries: Float[Tensor, "q d"], candidates: Float[Tensor, "c d"], positive: "PositivePairs"
) -> Float[Tensor, "q"]:
    """Rank, from 1, of each query's best positive candidate; every wrong candidate that ties with it ranks before it.

    Rows are of unit length and the scores cosines in float64; scores within 1e-12 of each other are ties.

    Args:
        queries: One row per query.
        candidates: One row per candidate.
        positive: Which candidates are right for a chunk of queries.
    """
    ranks = torch.empty(queries.shape[0], dtype=torch.float64)
    for start in range(0, queries.shape[0], CHUNK):
        rows = slice(start, start + CHUNK)
        scores = queries[rows] @ candidates.T
        right = positive.mask(rows)
        best = scores.masked_fill(~right, -math.inf).amax(dim=1, keepdim=True)
        before = (scores >= best - TIE_TOLERANCE) & ~right
        ranks[rows] = 1 + before.sum(dim=1).double()
    return ranks


class PositivePairs:
    """Which candidates belong to which queries: those with the same owner."""

    def __init__(self, query_owner: Int[Tensor, "q"], candidate_owner: Int[Tensor, "c"]) -> None:
        self.query_owner, self.candidate_owner = query_owner, candidate_owner

    def mask(self, rows: slice) -> Bool[Tensor, "r c"]:
        """True where the candidate is right for the query, for some rows of queries."""
        return self.query_owner[rows, None] == self.candidate_owner[None, :]


def chance_levels(n_candidates: int, n_positive: Int[Tensor, "q"]) -> Direction:
    """Expected scores of random orders: recall@k, and median and mean rank of the best of m positives among N.

    recall@k = 1 - C(N - m, k) / C(N, k); mean rank = (N + 1) / (m + 1), averaged over the queries; the median is that of one
    random query's rank.
    """
    sizes, weight = n_positive.unique(return_counts=True)
    share = (weight.double() / weight.sum()).tolist()
    ranks = torch.arange(1, n_candidates + 1, dtype=torch.float64)
    beyond = torch.zeros(n_candidates, dtype=torch.float64)
    mean_rank = 0.0
    for m, part in zip(sizes.tolist(), share, strict=True):
        factors = ((n_candidates - m - ranks + 1) / (n_candidates - ranks + 1)).clamp_min(0)
        beyond += part * factors.cumprod(0)
        mean_rank += part * (n_candidates + 1) / (m + 1)
    levels = {f"recall@{k}": 1 - beyond[min(k, n_candidates) - 1].item() for k in RECALL_AT}
    low = int((beyond <= 0.5 + 1e-12).nonzero()[0]) + 1
    at_half = abs(beyond[low - 1].item() - 0.5) <= 1e-12
    return {**levels, "median_rank": low + 0.5 if at_half else float(low), "mean_rank": mean_rank}


def retrieval(
    image: Float[Tensor, "i d"],
    text: Float[Tensor, "t d"],
    owner: Int[Tensor, "t"] | None = None,
    *,
    seed: int = 0,
    compat: bool = False,
) -> dict[str, object]:
    """Recall@1/5/10 in [0, 1] and median and mean rank (from 1) of the best positive, image to text and text to image.

    Queries hit at k when any of their positives is among the first k (the protocol of CLIP_benchmark). Ties with a wrong
    candidate count against the query. ``k`` beyond the number of candidates counts all of them.

    Args:
        image: Image embeddings; brought to unit length here.
        text: Text embeddings.
        owner: Row of the image that each text belongs to; default: text j belongs to image j.
        seed: Seed of the bootstrap of the rank intervals.
        compat: The earlier study's median, the lower of the two middle ranks.

    Returns:
        "i2t" and "t2i": the scores; "rsum": the sum of the six recalls in per cent; "chance" and "interval" (95 %): the same keys.

    Raises:
        DataError: Shapes or owners do not fit, an image has no text, or a value is not finite.
    """
    owner = _checked_owner(image, text, owner)
    image, text = _unit_double(image), _unit_double(text)
    images = torch.arange(image.shape[0])
    ranks = {
        "i2t": best_positive_ranks(image, text, PositivePairs(images, owner)),
        "t2i": best_positive_ranks(text, image, PositivePairs(owner, images)),
    }
    groups = {"i2t": images, "t2i": owner}
    scores = {way: _scores(ranks[way], lower_median=compat) for way in ranks}
    chance = {
        "i2t": chance_levels(text.shape[0], torch.bincount(owner, minlength=image.shape[0])),
        "t2i": chance_levels(image.shape[0], torch.ones_like(owner)),
    }
    return {
        **scores,
        "rsum": 100 * sum(scores[way][f"recall@{k}"] for way in scores for k in RECALL_AT),
        "chance": {**chance, "rsum": 100 * sum(chance[way][f"recall@{k}"] for way in chance for k in RECALL_AT)},
        "interval": {way: _intervals(ranks[way], groups[way], seed) for way in ranks},
    }


def _scores(ranks: Float[Tensor, "q"], *, lower_median: bool) -> Direction:
    median = ranks.median() if lower_median else _median(ranks)
    recalls = {f"recall@{k}": (ranks <= k).double().mean().item() for k in RECALL_AT}
    return {**recalls, "median_rank": median.item(), "mean_rank": ranks.mean().item()}


def _median(ranks: Float[Tensor, "q"]) -> Float[Tensor, ""]:
    ascending, n = ranks.sort().values, ranks.numel()
    return (ascending[(n - 1) // 2] + ascending[n // 2]) / 2


def _intervals(ranks: Float[Tensor, "q"], groups: Int[Tensor, "q"], seed: int) -> dict[str, tuple[float, float]]:
    recalls = {}
    for k in RECALL_AT:
        hits = ranks <= k
        recalls[f"recall@{k}"] = wilson_interval(hits.double().mean().item(), len(hits) / design_effect(hits, groups))
    return {**recalls, **bootstrap_interval(ranks, groups, seed=seed)}


def _unit_double(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    x = x.detach().cpu().double()
    return x / x.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)


def _checked_owner(image: Tensor, text: Tensor, owner: Tensor | None) -> Int[Tensor, "t"]:
    if image.ndim != 2 or text.ndim != 2 or image.shape[1] != text.shape[1] or 0 in (len(image), len(text)):
        raise DataError(
            f"got {list(image.shape)} and {list(text.shape)}, expected two matrices of the same width, not empty"
        )
    if not (torch.isfinite(image).all() and torch.isfinite(text).all()):
        raise DataError(
            "an embedding is not finite", "look for the model's overflow; a score of NaN would mean nothing"
        )
    if owner is None:
        if len(image) != len(text):
            raise DataError(
                f"{len(text)} texts for {len(image)} images", "say in `owner` which image each text belongs to"
            )
        return torch.arange(len(text))
    owner = torch.as_tensor(owner).cpu().long()
    if owner.shape != (len(text),) or owner.min() < 0 or owner.max() >= len(image):
        raise DataError(f"owner has shape {list(owner.shape)}, expected {len(text)} rows of 0 .. {len(image) - 1}")
    missing = (torch.bincount(owner, minlength=len(image)) == 0).nonzero()
    if len(missing):
        raise DataError(f"image {int(missing[0])} has no text ({len(missing)} such images)", "leave them out")
    return owner
