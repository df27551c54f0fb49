"""Options of the metrics; nothing heavy is imported here."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from interp_registry.contracts.metric import Invariance, MetricInfo, ScoredConfig
from interp_registry.errors import ConfigError

__all__ = [
    "CENTRED",
    "ORTHOGONAL",
    "SONG",
    "CkaConfig",
    "CknnaConfig",
    "CycleKnnConfig",
    "EditDistanceKnnConfig",
    "LcsKnnConfig",
    "MutualKnnConfig",
    "NeighbourConfig",
    "SvccaConfig",
    "UnbiasedCkaConfig",
]

Compat = Literal["platonic"]

_HUH = "Huh, Cheung, Wang, Isola 2024, The Platonic Representation Hypothesis, arXiv 2405.07987"
_KORNBLITH = "Kornblith, Norouzi, Lee, Hinton 2019, Similarity of Neural Network Representations Revisited, eq. 4"
SONG = "Song, Smola, Gretton, Bedo, Borgwardt 2012, Feature Selection via Dependence Maximization, eq. 4"
_RAGHU = "Raghu, Gilmer, Yosinski, Sohl-Dickstein 2017, SVCCA"
ORTHOGONAL: frozenset[Invariance] = frozenset({"rotation", "scaling"})
CENTRED: frozenset[Invariance] = frozenset({"rotation", "scaling", "translation"})


@dataclass
class NeighbourConfig(ScoredConfig):
    """Options that all neighbour metrics share."""

    topk: int = 10
    """k: how many nearest neighbours; below the number of samples"""

    def __post_init__(self) -> None:
        """Check the number of neighbours."""
        if self.topk < 1:
            raise ConfigError(f"topk={self.topk} must be at least 1", "topk")


@dataclass
class MutualKnnConfig(NeighbourConfig):
    """Mean share of common nearest neighbours."""

    impl: ClassVar[str] = "interp_plugins.metrics.knn:MutualKnn"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="mean share of common k nearest neighbours",
        source=_HUH,
        range=(0.0, 1.0),
        invariances=ORTHOGONAL,
        has_known_null=True,
        self_score=1.0,
        citation="huh2024platonic",
    )


@dataclass
class CycleKnnConfig(NeighbourConfig):
    """Share of samples that return to themselves over a neighbour in y and its neighbours in x."""

    impl: ClassVar[str] = "interp_plugins.metrics.knn:CycleKnn"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="share of samples that return over a neighbour in y and its neighbours in x",
        source=_HUH,
        range=(0.0, 1.0),
        symmetric=False,
        invariances=ORTHOGONAL,
        citation="huh2024platonic",
    )


@dataclass
class LcsKnnConfig(NeighbourConfig):
    """Mean longest common subsequence of ordered neighbour lists, in [0, k]."""

    impl: ClassVar[str] = "interp_plugins.metrics.sequences:LcsKnn"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="mean longest common subsequence of neighbour lists, in [0, k]",
        source=_HUH,
        range=(0.0, None),
        invariances=ORTHOGONAL,
        citation="huh2024platonic",
    )

    def describe(self) -> MetricInfo:
        """The score of a layer with itself is k."""
        k = float(self.topk)
        return dataclasses.replace(self.info, range=(0.0, k), self_score=k)


@dataclass
class EditDistanceKnnConfig(NeighbourConfig):
    """One minus the mean edit distance of ordered neighbour lists divided by k."""

    impl: ClassVar[str] = "interp_plugins.metrics.sequences:EditDistanceKnn"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="one minus the mean edit distance of neighbour lists divided by k",
        source=_HUH,
        range=(0.0, 1.0),
        invariances=ORTHOGONAL,
        self_score=1.0,
        citation="huh2024platonic",
    )


@dataclass
class CkaConfig(ScoredConfig):
    """Centred kernel alignment."""

    impl: ClassVar[str] = "interp_plugins.metrics.cka:Cka"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="cosine of the centred Gram matrices (biased estimator)",
        source=_KORNBLITH,
        range=(0.0, 1.0),
        invariances=CENTRED,
        self_score=1.0,
        citation="kornblith2019similarity",
    )

    kernel: Literal["linear", "rbf"] = "linear"
    """linear: inner products; rbf: exp(-d^2 / (2 sigma^2))"""
    sigma: float | None = None
    """width of the rbf kernel; none: the square root of the median squared distance of the layer"""
    biased: bool = True
    """false: unbiased HSIC estimator, about 0 for independent models of any width"""
    compat: Compat | None = None
    """platonic: add 1e-6 to the denominator as the published code does, which is not scale-free"""

    def __post_init__(self) -> None:
        """Check the width of the kernel."""
        if self.sigma is not None and not self.sigma > 0:
            raise ConfigError(f"sigma={self.sigma} must be positive", "sigma", "leave it out for the median heuristic")

    def describe(self) -> MetricInfo:
        """Flags with the estimator and kernel that are set."""
        fixed_width = self.kernel == "rbf" and self.sigma is not None
        return dataclasses.replace(
            self.info,
            range=(0.0, 1.0) if self.biased else (-1.0, 1.0),
            invariances=frozenset({"rotation", "translation"}) if fixed_width else CENTRED,
            has_known_null=not self.biased,
            source=_KORNBLITH if self.biased else f"{_KORNBLITH}, with HSIC of {SONG}",
            summary=self.info.summary if self.biased else "cosine of the U-centred Gram matrices (unbiased estimator)",
        )


@dataclass
class UnbiasedCkaConfig(CkaConfig):
    """Centred kernel alignment with the unbiased HSIC estimator; about 0 for independent models of any width."""

    biased: bool = False
    """true: the biased estimator"""


@dataclass
class CknnaConfig(NeighbourConfig):
    """Centred kernel alignment over common nearest neighbours only."""

    impl: ClassVar[str] = "interp_plugins.metrics.cknna:Cknna"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="kernel alignment restricted to pairs that are nearest neighbours in both",
        source=f"{_HUH}, appendix A",
        symmetric=False,
        invariances=ORTHOGONAL,
        self_score=1.0,
        citation="huh2024platonic",
    )

    biased: bool = False
    """true: trace estimator, and a sample may be its own neighbour"""
    compat: Compat | None = None
    """platonic: add 1e-6 to the denominator as the published code does, which is not scale-free"""

    def __post_init__(self) -> None:
        """Check the number of neighbours."""
        if self.topk < 2:
            raise ConfigError(f"topk={self.topk} must be at least 2 for cknna", "topk")


@dataclass
class SvccaConfig(ScoredConfig):
    """Mean canonical correlation of the leading singular subspaces."""

    impl: ClassVar[str] = "interp_plugins.metrics.svcca:Svcca"
    info: ClassVar[MetricInfo] = MetricInfo(
        summary="mean canonical correlation of the leading singular subspaces of the z-scored features",
        source=_RAGHU,
        range=(0.0, 1.0),
        invariances=frozenset({"scaling", "translation"}),
        self_score=1.0,
        citation="raghu2017svcca",
    )

    dim: int = 10
    """dimension of the subspaces"""
    method: Literal["exact", "randomized"] = "exact"
    """exact: singular vectors to machine precision; randomized: the published sketch of width dim, which underestimates"""
    seed: int = 0
    """seed of the sketch, reset before every pair of layers (x is drawn first, then y); not used by exact"""
    compat: Compat | None = None
    """platonic: the seeded sketch of the published code, whatever method says"""

    def __post_init__(self) -> None:
        """Check the dimension and apply the compatible method."""
        if self.dim < 1:
            raise ConfigError(f"dim={self.dim} must be at least 1", "dim")
