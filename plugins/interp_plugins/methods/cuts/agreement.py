"""How far eigenvectors agree with the similarity scores that the model itself gives.

Axis letters: v words of all samples, q eigenvectors, s samples.
"""

import math

import torch
from jaxtyping import Float, Int
from scipy.stats import rankdata
from torch import Tensor

from interp_plugins.methods.cuts.nodes import CorpusNodes

__all__ = ["spearman", "top_overlap", "word_agreement", "word_similarity"]


def word_similarity(nodes: CorpusNodes) -> Float[Tensor, "v"]:
    """Mean similarity of each word to the patches of its own image, in [-1, 1]."""
    n_samples = int(nodes.patch_owner.max()) + 1
    counts = torch.bincount(nodes.patch_owner, minlength=n_samples)
    sums = torch.zeros(n_samples, nodes.patches.shape[1]).index_add_(0, nodes.patch_owner, nodes.patches)
    means = sums / counts[:, None]
    return (nodes.words * means[nodes.word_owner]).sum(dim=1)


def spearman(x: Float[Tensor, "v"], y: Float[Tensor, "v"]) -> float:
    """Spearman's rank correlation in [-1, 1], mean ranks for ties; NaN for fewer than three values or a constant."""
    if len(x) < 3:
        return float("nan")
    a, b = (torch.from_numpy(rankdata(side.numpy())) for side in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = a.norm() * b.norm()
    return ((a * b).sum() / scale).item() if scale > 0 else float("nan")


def top_overlap(x: Float[Tensor, "v"], y: Float[Tensor, "v"], k: int) -> float:
    """Share in [0, 1] of the k largest of one that are among the k largest of the other; k is cut to the length."""
    k = min(k, len(x))
    return len(set(x.topk(k).indices.tolist()) & set(y.topk(k).indices.tolist())) / k


def word_agreement(
    similarity: Float[Tensor, "v"], vectors: Float[Tensor, "v q"], owner: Int[Tensor, "v"], n_vectors: int = 5
) -> list[dict[str, float | int]]:
    """For each of the first eigenvectors: Spearman over all words, its mean within captions, overlap of the top 10 and 50."""
    rows: list[dict[str, float | int]] = []
    for index in range(min(n_vectors, vectors.shape[1])):
        vector = vectors[:, index].float()
        within = [spearman(similarity[owner == s], vector[owner == s]) for s in owner.unique().tolist()]
        defined = torch.tensor([value for value in within if not math.isnan(value)])
        rows.append(
            {
                "eigenvector": index + 1,
                "spearman": spearman(similarity, vector),
                "spearman_within_captions": defined.mean().item() if len(defined) else float("nan"),
                "top_10_overlap": top_overlap(similarity, vector, 10),
                "top_50_overlap": top_overlap(similarity, vector, 50),
            }
        )
    return rows
