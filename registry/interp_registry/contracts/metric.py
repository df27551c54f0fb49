"""What a representational similarity metric is.

A metric compares *layers*: matrices ``[n, d]`` whose row i is the representation of sample i. It is prepared once per
model and then scores all pairs of layers of two models in one pass, so neighbours, Grams and bases are never computed
once per pair.

Axis letters: n samples, d features, Lx and Ly layers of the two models, K permutations, m chosen rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from interp_registry.choices import MetricConfig

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Invariance",
    "LeavesOneOut",
    "Metric",
    "MetricInfo",
    "Permutable",
    "ScoredConfig",
    "State",
    "Subsettable",
    "info_of",
]

State: TypeAlias = Mapping[str, "Tensor"]
"""What `Metric.prepare` keeps of a model: named tensors, so that it can be stored as safetensors."""

Invariance = Literal["rotation", "invertible", "scaling", "translation", "row_scaling"]
"""Transformations of one model's features that leave a score as it is.

``rotation``: X -> X Q, Q orthogonal. ``invertible``: X -> X A, A invertible. ``scaling``: X -> c X, c > 0.
``translation``: X -> X + 1 b'. ``row_scaling``: x_i -> c_i x_i, c_i > 0. A joint permutation of the samples leaves every
metric as it is and is not listed.
"""


@dataclass(frozen=True)
class MetricInfo:
    """What a reader has to know before believing a number.

    Args:
        summary: What the metric computes, in one line.
        source: The paper (and equation) that defines it.
        range: Least and greatest attainable score; None where it is unbounded.
        symmetric: Whether score(x, y) equals score(y, x).
        higher_is_better: False for distances.
        invariances: Transformations of either side that leave the score unchanged.
        has_known_null: Whether the mean under independence is known in closed form.
        self_score: The score of a layer with itself; None where it depends on the data.
        citation: BibTeX key that ``interp cite`` prints.
    """

    summary: str
    source: str
    range: tuple[float | None, float | None] = (None, None)
    symmetric: bool = True
    higher_is_better: bool = True
    invariances: frozenset[Invariance] = field(default_factory=frozenset)
    has_known_null: bool = False
    self_score: float | None = None
    citation: str | None = None


@dataclass
class ScoredConfig(MetricConfig):
    """A metric's options together with its flags, which are data and need no heavy import."""

    info: ClassVar[MetricInfo] = MetricInfo(summary="", source="")

    def describe(self) -> MetricInfo:
        """Flags of the metric with these options (the range of some depends on them)."""
        return self.info


@runtime_checkable
class Metric(Protocol):
    """Scores all pairs of layers of two prepared models. Give it an ``info: MetricInfo`` if anything is known of it."""

    def prepare(self, layers: "Sequence[Tensor]") -> State:
        """Compute once per model what every pair needs.

        Args:
            layers: One ``[n, d]`` float tensor per layer; d may differ between layers. All are on one device, which has float64.

        Returns:
            Named tensors, stored and loaded as safetensors.
        """
        ...

    def score_pairs(self, x: State, y: State) -> "Tensor":
        """Score every layer of x with every layer of y.

        Returns:
            float64 ``[Lx, Ly]``; entry [i, j] compares layer i of x with layer j of y, in that order.
        """
        ...


@runtime_checkable
class Permutable(Protocol):
    """A metric that re-indexes its state when the samples of y are shuffled, instead of preparing again."""

    def null_pairs(self, x: State, y: State, permutations: "Tensor") -> "Tensor":
        """Score all pairs for every permutation of the samples of y.

        Args:
            x: State of the first model.
            y: State of the second.
            permutations: int64 ``[K, n]``; row i of x is compared with row ``permutations[k, i]`` of y.

        Returns:
            float64 ``[K, Lx, Ly]``.
        """
        ...


@runtime_checkable
class Subsettable(Protocol):
    """A metric whose state can be restricted to some of the samples."""

    def subset(self, state: State, rows: "Tensor") -> State:
        """State of the same layers on the samples ``rows`` (int64 ``[m]``, all different)."""
        ...


@runtime_checkable
class LeavesOneOut(Protocol):
    """A metric that knows its scores with each sample left out, exactly; the jackknife needs it.

    A property ``can_leave_one_out`` that is False says that it cannot with the options that are set.
    """

    def leave_one_out(self, x: "Sequence[Tensor]", y: "Sequence[Tensor]") -> "Tensor":
        """Scores of all pairs of layers, float64 ``[n, Lx, Ly]``; entry [r] is without sample r."""
        ...


def info_of(metric: object) -> MetricInfo:
    """The metric's flags; a metric that states none gets the cautious defaults (unbounded, higher is better)."""
    info = getattr(metric, "info", None)
    return info if isinstance(info, MetricInfo) else MetricInfo(summary=type(metric).__name__, source="")
