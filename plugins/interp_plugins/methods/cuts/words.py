"""What clusters mean in words: counts, distinctiveness, scores.

Axis letters: v words of all samples, q eigenvectors, k clusters.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["ClusterWord", "cluster_words", "words_csv"]


@dataclass(frozen=True)
class ClusterWord:
    """One word in one cluster.

    Attributes:
        word: The word.
        cluster: The cluster.
        count: How often it occurs there.
        share: Share of its occurrences that are there.
        distinctiveness: Count times the logarithm of how much commoner it is there than over all clusters, in nats.
        similarity: Mean similarity to the patches of its images.
        first_vector: Mean entry of the first eigenvector that is not trivial.
    """

    word: str
    cluster: int
    count: int
    share: float
    distinctiveness: float
    similarity: float
    first_vector: float


def cluster_words(
    names: Sequence[str], labels: Int[Tensor, "v"], similarity: Float[Tensor, "v"], vectors: Float[Tensor, "v q"]
) -> list[ClusterWord]:
    """All words of all clusters, the most distinctive first within each cluster."""
    clusters = labels.tolist()
    total, inside = Counter(names), Counter(zip(names, clusters, strict=True))
    sizes, n = Counter(clusters), len(names)
    sums: dict[tuple[str, int], list[float]] = {}
    for row, key in enumerate(zip(names, clusters, strict=True)):
        found = sums.setdefault(key, [0.0, 0.0])
        found[0] += similarity[row].item()
        found[1] += vectors[row, 0].item()
    words = []
    for (word, cluster), count in inside.items():
        surprise = count * math.log((count / sizes[cluster]) / (total[word] / n))
        means = [value / count for value in sums[word, cluster]]
        words.append(ClusterWord(word, cluster, count, count / total[word], surprise, *means))
    return sorted(words, key=lambda one: (one.cluster, -one.distinctiveness, one.word))


def words_csv(words: Sequence[ClusterWord]) -> str:
    """CSV of the words of all clusters."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    fields = ("word", "cluster", "count", "share", "distinctiveness", "similarity", "first_vector")
    writer.writerow(fields)
    writer.writerows([getattr(one, field) for field in fields] for one in words)
    return buffer.getvalue()
