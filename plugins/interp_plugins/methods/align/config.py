"""Options of `interp align`; nothing heavy is imported here."""

from dataclasses import dataclass, field
from typing import Literal

from interp_plugins.metrics.config import MutualKnnConfig
from interp_registry.choices import MetricConfig
from interp_registry.errors import ConfigError

__all__ = ["AlignConfig", "FeatureOptions", "LayersConfig", "SourceOptions"]

Modality = Literal["all", "language", "vision"]


@dataclass
class SourceOptions:
    """Where missing features come from."""

    dataset: str = ""
    """data set to extract missing features from, as `interp extract --dataset` takes it; its default when left out"""
    subset: str | None = None
    """subset (revision) of the data set, e.g. wit_1024"""
    limit: int | None = None
    """only the first samples of the data set; all when left out"""
    caption: list[int] = field(default_factory=list)
    """which caption of each image to extract; several are joined; the first when left out"""
    loss: bool = False
    """also compute each language model's loss while extracting, to set alignment against it"""
    extract: bool = True
    """extract missing features first (--no-extract refuses)"""


@dataclass
class FeatureOptions(SourceOptions):
    """Which features are compared, and how they are prepared."""

    pool_x: str | None = None
    """pooling of the first side, where features have several"""
    pool_y: str | None = None
    """pooling of the second side, where features have several"""
    clamp: Literal["quantile", "quantile-exact"] | None = None
    """clamp outliers: quantile (mean of per-sample quantiles) or quantile-exact (of all values); no clamp when left out"""
    quantile: float = 0.95
    """quantile of absolute values that the clamp cuts at"""
    clamp_per_layer: bool = False
    """one clamp threshold per layer, where layers of equal width share one otherwise"""
    normalize: bool = True
    """scale every row to unit length after the clamp"""
    skip_embedding: bool = False
    """leave the embedding layer (address 0) out of the search; it is then reported apart"""


@dataclass
class AlignConfig(FeatureOptions):
    """Which models agree with which, by which metric, and how sure that is."""

    models: list[str] = field(
        default_factory=list, metadata={"positional": True, "complete": "interp_plugins.embedded.zoo:names modelsets"}
    )
    """models, model sets, stored keys or feature files; all pairs of them, unless --with names the other side"""
    against: list[str] = field(
        default_factory=list, metadata={"complete": "interp_plugins.embedded.zoo:names modelsets"}
    )
    """the other side (also --with, --y): every model of the first side is compared with every one of these"""
    modelset_x: str | None = None
    """model set of the first side, e.g. val"""
    modelset_y: str | None = None
    """model set of the second side"""
    modality_x: Modality = "all"
    """keep only models of this modality on the first side; language when both sides are the same set"""
    modality_y: Modality = "all"
    """keep only models of this modality on the second side; vision when both sides are the same set"""
    metric: list[MetricConfig] = field(default_factory=lambda: [MutualKnnConfig()])
    """metrics: names and patterns, e.g. mutual_knn,'cka*', or all; --metric.FIELD sets an option of those that have it"""
    topk: int | None = None
    """number of nearest neighbours, for every metric that has neighbours; 10 when left out"""
    compat: Literal["platonic"] | None = None
    """platonic: numerical quirks of the published code (absolute 1e-6 in the CKA family, seeded sketch in svcca)"""
    permutations: str = "200"
    """permutations of the null distribution (also --null): a number, or off"""
    alpha: float = 0.05
    """level of the calibrated score"""
    statistic: str = "max"
    """what is reported and calibrated: max over layer pairs, mean, or one pair of rows such as 3,5"""
    ci: Literal["off", "auto", "subsample", "jackknife"] = field(default="off", metadata={"bare": "auto"})
    """confidence interval of the statistic: subsample (without replacement), jackknife; auto takes the cheaper exact one"""
    ci_level: float = 0.95
    """coverage of the confidence interval"""
    ci_draws: int = 100
    """subsamples of the confidence interval"""
    n_grid: str | None = field(default=None, metadata={"bare": "auto"})
    """how the score moves with the number of samples: sizes such as 128,256,512; bare: halvings of all samples"""
    table: str | None = None
    """CSV file with a column model and downstream scores, to set against alignment"""

    @property
    def n_permutations(self) -> int | None:
        """Number of permutations, or None when the null is off.

        Raises:
            ConfigError: Neither a number nor off.
        """
        if self.permutations.strip().lower() in {"off", "false", "none", "0"}:
            return None
        if not self.permutations.strip().isdigit():
            raise ConfigError(f"{self.permutations!r} is neither a number of permutations nor 'off'", "--null")
        return int(self.permutations)

    def __post_init__(self) -> None:
        """Check what needs no data."""
        if not 0 < self.alpha < 1:
            raise ConfigError(f"{self.alpha} is outside (0, 1)", "alpha", "0.05 is usual")
        if not 0 < self.ci_level < 1:
            raise ConfigError(f"{self.ci_level} is outside (0, 1)", "ci_level", "0.95 is usual")
        if not 0 < self.quantile <= 1:
            raise ConfigError(f"{self.quantile} is outside (0, 1]", "quantile", "0.95 is the published choice")


@dataclass
class LayersConfig(SourceOptions):
    """Which models' layers are described; features are taken as they are."""

    models: list[str] = field(
        default_factory=list, metadata={"positional": True, "complete": "interp_plugins.embedded.zoo:names modelsets"}
    )
    """models, model sets, stored keys or feature files"""
    pool: str | None = None
    """pooling, where features have several"""
