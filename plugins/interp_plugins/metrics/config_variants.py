"""Options of the metrics beyond the published eight; nothing heavy is imported here."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from interp_plugins.metrics.config import CENTRED, ORTHOGONAL, SONG, CkaConfig, NeighbourConfig
from interp_registry.contracts.metric import Invariance, MetricInfo, ScoredConfig
from interp_registry.errors import ConfigError

__all__ = [
    "AngularCkaConfig",
    "AngularProcrustesConfig",
    "CcaConfig",
    "DebiasedCkaConfig",
    "DistanceCorrelationConfig",
    "JaccardKnnConfig",
    "LinearPredictivityConfig",
    "ProcrustesConfig",
    "PwccaConfig",
    "RankSimilarityConfig",
    "RbfCkaConfig",
    "RsaConfig",
    "SecondOrderCosineConfig",
    "StreamingCkaConfig",
]

_KLABUNDE = "Klabunde, Schumacher, Strohmaier, Lemmerich 2023, Similarity of Neural Network Models, arXiv 2305.06329"


@dataclass
class RbfCkaConfig(CkaConfig):
    """Centred kernel alignment with an rbf kernel whose width is the median distance."""

    kernel: Literal["linear", "rbf"] = "rbf"
    """linear: inner products; rbf: exp(-d^2 / (2 sigma^2))"""


@dataclass
class AngularCkaConfig(CkaConfig):
    """Angle between centred Gram matrices: CKA as a distance."""

    impl: ClassVar[str] = "interp_plugins.metrics.cka_variants:AngularCka"

    def describe(self) -> MetricInfo:
        """Flags of a distance in radians."""
        return dataclasses.replace(
            super().describe(),
            summary="arccos of CKA, in radians: a distance",
            source="Williams, Kunz, Kornblith, Linderman 2021, Generalized Shape Metrics on Neural Representations, eq. 60",
            range=(0.0, math.pi / 2 if self.biased else math.pi),
            higher_is_better=False,
            has_known_null=False,
            self_score=0.0,
            citation="williams2021shape",
        )


@dataclass
class StreamingCkaConfig(ScoredConfig):
    """Linear CKA computed in feature space, for samples whose Gram does not fit in memory."""

    impl: ClassVar[str] = "interp_plugins.metrics.cka_variants:StreamingCka"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="linear CKA from cross products of features; memory does not grow with n squared",
        source="Kornblith, Norouzi, Lee, Hinton 2019, eq. 5",
        range=(0.0, 1.0),
        invariances=CENTRED,
        self_score=1.0,
        citation="kornblith2019similarity",
    )

    biased: bool = True
    """false: unbiased HSIC estimator"""

    def describe(self) -> MetricInfo:
        """Flags with the estimator that is set."""
        if self.biased:
            return self.info
        source = f"{self.info.source}, with HSIC of {SONG}"
        return dataclasses.replace(self.info, range=(-1.0, 1.0), has_known_null=True, source=source)


@dataclass
class DebiasedCkaConfig(StreamingCkaConfig):
    """Debiased linear CKA in feature space; equal to unbiased_cka."""

    biased: bool = False
    """true: the biased estimator"""


@dataclass
class RsaConfig(ScoredConfig):
    """Representational similarity analysis: correlation of dissimilarity matrices."""

    impl: ClassVar[str] = "interp_plugins.metrics.distances:make_rsa"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="correlation of the dissimilarities of all pairs of samples",
        source="Kriegeskorte, Mur, Bandettini 2008, Representational similarity analysis",
        range=(-1.0, 1.0),
        self_score=1.0,
        citation="kriegeskorte2008rsa",
    )

    comparison: Literal["pearson", "spearman", "kendall"] = "spearman"
    """how dissimilarities are compared; kendall takes n^2 log n operations for every pair of layers"""
    dissimilarity: Literal["correlation", "cosine", "euclidean", "squared"] = "correlation"
    """1 - Pearson's r of the rows, 1 - cosine, Euclidean distance, its square"""

    def describe(self) -> MetricInfo:
        """Invariances depend on the dissimilarity."""
        by_kind: dict[str, frozenset[Invariance]] = {
            "correlation": frozenset({"scaling", "row_scaling"}),
            "cosine": frozenset({"rotation", "scaling", "row_scaling"}),
        }
        return dataclasses.replace(self.info, invariances=by_kind.get(self.dissimilarity, CENTRED))


@dataclass
class DistanceCorrelationConfig(ScoredConfig):
    """Distance correlation."""

    impl: ClassVar[str] = "interp_plugins.metrics.distances:DistanceCorrelation"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="correlation of centred distance matrices; 0 only under independence",
        source="Székely, Rizzo, Bakirov 2007, Measuring and testing dependence by correlation of distances",
        range=(0.0, 1.0),
        invariances=CENTRED,
        self_score=1.0,
        citation="szekely2007distance",
    )

    biased: bool = True
    """false: bias-corrected estimate of the squared distance correlation, about 0 under independence"""

    def describe(self) -> MetricInfo:
        """Flags with the estimator that is set."""
        if self.biased:
            return self.info
        source = "Székely, Rizzo 2014, Partial distance correlation with methods for dissimilarities, eq. 2.6"
        return dataclasses.replace(self.info, range=(-1.0, 1.0), has_known_null=True, source=source)


@dataclass
class ProcrustesConfig(ScoredConfig):
    """Squared orthogonal Procrustes distance."""

    impl: ClassVar[str] = "interp_plugins.metrics.subspaces:Procrustes"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="squared distance after the best rotation of centred features of unit norm: a distance",
        source="Ding, Denain, Steinhardt 2021, Grounding Representation Similarity with Statistical Testing, eq. 6",
        range=(0.0, 2.0),
        higher_is_better=False,
        invariances=CENTRED,
        self_score=0.0,
        citation="ding2021grounding",
    )

    angular: bool = False
    """the angle in radians, which obeys the triangle inequality"""

    def describe(self) -> MetricInfo:
        """Flags of the form that is set."""
        if not self.angular:
            return self.info
        source = "Williams, Kunz, Kornblith, Linderman 2021, Generalized Shape Metrics on Neural Representations, eq. 9"
        summary = "angle after the best rotation of centred features, in radians: a distance"
        return dataclasses.replace(
            self.info, range=(0.0, math.pi / 2), source=source, summary=summary, citation="williams2021shape"
        )


@dataclass
class AngularProcrustesConfig(ProcrustesConfig):
    """Angular Procrustes distance, in radians."""

    angular: bool = True
    """the angle in radians, which obeys the triangle inequality"""


@dataclass
class CcaConfig(ScoredConfig):
    """Mean canonical correlation."""

    impl: ClassVar[str] = "interp_plugins.metrics.subspaces:Cca"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="mean canonical correlation",
        source="Hotelling 1936; Raghu, Gilmer, Yosinski, Sohl-Dickstein 2017",
        range=(0.0, 1.0),
        invariances=frozenset({"rotation", "invertible", "scaling", "translation"}),
        self_score=1.0,
        citation="raghu2017svcca",
    )

    dim: int | None = None
    """keep this many leading principal components; needed when a layer is as wide as there are samples"""
    squared: bool = False
    """mean of the squared correlations (R^2 of CCA)"""

    def __post_init__(self) -> None:
        """Check the dimension."""
        if self.dim is not None and self.dim < 1:
            raise ConfigError(f"dim={self.dim} must be at least 1", "dim")

    def describe(self) -> MetricInfo:
        """With components left out, invertible maps change the score."""
        return self.info if self.dim is None else dataclasses.replace(self.info, invariances=CENTRED)


@dataclass
class PwccaConfig(CcaConfig):
    """Projection-weighted mean canonical correlation."""

    impl: ClassVar[str] = "interp_plugins.metrics.subspaces:Pwcca"

    def describe(self) -> MetricInfo:
        """Flags of an asymmetric weighting."""
        return dataclasses.replace(
            self.info,
            summary="canonical correlations weighted by how much of x they account for",
            source="Morcos, Raghu, Bengio 2018, Insights on representational similarity with CCA, eq. 4",
            symmetric=False,
            invariances=frozenset({"scaling", "translation"}),
            citation="morcos2018insights",
        )


@dataclass
class LinearPredictivityConfig(ScoredConfig):
    """Cross-validated R^2 of ridge regression from one layer to the other."""

    impl: ClassVar[str] = "interp_plugins.metrics.predictivity:LinearPredictivity"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="cross-validated R^2 of ridge regression between layers",
        source="Schrimpf et al. 2018, Brain-Score; Klabunde et al. 2023, Similarity of Neural Network Models, 3.2",
        range=(None, 1.0),
        symmetric=False,
        invariances=CENTRED,
        citation="schrimpf2018brainscore",
    )

    direction: Literal["forward", "backward", "mean"] = "forward"
    """forward: x predicts y; backward: y predicts x; mean of both"""
    alpha: float = 0.1
    """ridge penalty in units of the mean eigenvalue of the training Gram"""
    folds: int = 5
    """folds of the cross-validation"""
    seed: int = 0
    """seed of the folds"""

    def __post_init__(self) -> None:
        """Check penalty and folds."""
        if not self.alpha > 0:
            raise ConfigError(f"alpha={self.alpha} must be positive", "alpha")
        if self.folds < 2:
            raise ConfigError(f"folds={self.folds} must be at least 2", "folds")

    def describe(self) -> MetricInfo:
        """The mean of both directions is symmetric."""
        return dataclasses.replace(self.info, symmetric=self.direction == "mean")


@dataclass
class JaccardKnnConfig(NeighbourConfig):
    """Mean Jaccard index of neighbour sets."""

    impl: ClassVar[str] = "interp_plugins.metrics.neighbour_variants:JaccardKnn"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="mean Jaccard index of neighbour sets",
        source=f"Schumacher et al. 2021, The effects of randomness on the stability of node embeddings; {_KLABUNDE}, 3.3.1",
        range=(0.0, 1.0),
        invariances=ORTHOGONAL,
        self_score=1.0,
        citation="klabunde2023similarity",
    )


@dataclass
class RankSimilarityConfig(NeighbourConfig):
    """Agreement of the ranks of common neighbours."""

    impl: ClassVar[str] = "interp_plugins.metrics.neighbour_variants:RankSimilarity"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="agreement of the ranks of common neighbours",
        source=f"Wang et al. 2020, Towards Understanding the Instability of Network Embedding; {_KLABUNDE}, 3.3.4",
        range=(0.0, 1.0),
        invariances=ORTHOGONAL,
        self_score=1.0,
        citation="klabunde2023similarity",
    )


@dataclass
class SecondOrderCosineConfig(NeighbourConfig):
    """Mean cosine between similarities to the neighbours in both models."""

    impl: ClassVar[str] = "interp_plugins.metrics.neighbour_variants:SecondOrderCosine"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="mean cosine of a sample's similarities to its neighbours in both models",
        source=f"Hamilton, Leskovec, Jurafsky 2016, Cultural Shift or Linguistic Drift; {_KLABUNDE}, 3.3.2",
        range=(-1.0, 1.0),
        invariances=frozenset({"rotation", "scaling", "row_scaling"}),
        self_score=1.0,
        citation="klabunde2023similarity",
    )
