"""Configurations of the metrics and figures. Dataclasses only."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import draccus

from interp_plugins.methods.spd.loss_config import DecompositionLossConfig, Routing, UnmaskedReconConfig
from interp_registry.choices import ChoiceConfig

__all__ = [
    "ActivationDensityConfig",
    "CeKlConfig",
    "CiHistogramsConfig",
    "CiL0Config",
    "CiMeanPerComponentConfig",
    "DecompositionMetricConfig",
    "IdentityCiErrorConfig",
    "LossMetricConfig",
    "MultiBatchPgdConfig",
    "NeuronContributionsConfig",
    "PermutedCiConfig",
    "RecoveryConfig",
    "SubsetCeKlConfig",
    "UvPlotsConfig",
]

_METRICS = "interp_plugins.methods.spd.metrics"


@dataclass
class DecompositionMetricConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A metric or figure of a decomposition. ``build()`` gives a callable on an ``Evaluation``."""


@dataclass
class CiL0Config(DecompositionMetricConfig):
    """Mean number of components per row whose importance is above a threshold, per module and per group of modules."""

    impl: ClassVar[str] = f"{_METRICS}.importances:ImportanceL0"
    threshold: float | None = None
    """Threshold; none takes alive_threshold."""
    groups: dict[str, list[str]] = field(default_factory=dict)
    """Group name -> patterns of modules whose numbers are added."""


@dataclass
class CiHistogramsConfig(DecompositionMetricConfig):
    """Histogram of the importances of each module."""

    impl: ClassVar[str] = f"{_METRICS}.importances:ImportanceHistograms"
    n_bins: int = 50
    """Number of bins."""


@dataclass
class CiMeanPerComponentConfig(DecompositionMetricConfig):
    """Mean importance of each component, sorted; the alive stand out on a logarithmic axis."""

    impl: ClassVar[str] = f"{_METRICS}.importances:MeanImportance"


@dataclass
class ActivationDensityConfig(DecompositionMetricConfig):
    """Share of rows on which each component fires."""

    impl: ClassVar[str] = f"{_METRICS}.importances:ActivationDensity"
    n_bins: int = 100
    """Number of bins."""


@dataclass
class IdentityCiErrorConfig(DecompositionMetricConfig):
    """Entries that keep the importances on one-hot inputs from the expected solution (identity or dense)."""

    impl: ClassVar[str] = f"{_METRICS}.importances:TargetSolutionError"
    identity: dict[str, int] = field(default_factory=dict)
    """Pattern of modules -> number of features that should have a component each."""
    dense: dict[str, int] = field(default_factory=dict)
    """Pattern of modules -> number of components that should be in use."""
    tolerances: list[float] = field(default_factory=lambda: [0.1, 0.2])
    """Tolerances; the first is the one reported as identity_ci_error."""


@dataclass
class PermutedCiConfig(DecompositionMetricConfig):
    """Importances on one-hot inputs, components permuted into the order of features."""

    impl: ClassVar[str] = f"{_METRICS}.importances:PermutedImportances"
    dense: list[str] = field(default_factory=list)
    """Patterns of modules to order by sums instead of matching."""
    n_components: int = 60
    """Most components to draw."""


@dataclass
class UvPlotsConfig(DecompositionMetricConfig):
    """V and U of each module, components permuted like the importances."""

    impl: ClassVar[str] = f"{_METRICS}.factors:FactorPlots"
    dense: list[str] = field(default_factory=list)
    """Patterns of modules to order by sums instead of matching."""
    n_components: int = 40
    """Most components to draw."""
    max_width: int = 200
    """Modules with a wider side are left out."""


@dataclass
class RecoveryConfig(DecompositionMetricConfig):
    """MMCS and ML2R of the components against a matrix of the target."""

    impl: ClassVar[str] = f"{_METRICS}.factors:WeightRecovery"
    module: str = "linear1"
    """Module whose input features are recovered."""


@dataclass
class NeuronContributionsConfig(DecompositionMetricConfig):
    """Residual MLP: contribution of each neuron to each feature, target against the strongest component."""

    impl: ClassVar[str] = f"{_METRICS}.factors:NeuronContributions"


@dataclass
class CeKlConfig(DecompositionMetricConfig):
    """Divergence from the target's output, and cross-entropy of the next token, under six kinds of masks."""

    impl: ClassVar[str] = f"{_METRICS}.outputs:CrossEntropyAndKl"
    rounding_threshold: float = 0.1
    """Importance from which a rounded mask is one."""


@dataclass
class SubsetCeKlConfig(DecompositionMetricConfig):
    """Divergence and cross-entropy with stochastic masks in a subset of the modules, the others left as they are."""

    impl: ClassVar[str] = f"{_METRICS}.outputs:SubsetCrossEntropyAndKl"
    include: dict[str, list[str]] = field(default_factory=dict)
    """Name of a subset -> patterns of the modules in it."""
    exclude: dict[str, list[str]] = field(default_factory=dict)
    """Name of a subset -> patterns of the modules that are not in it."""


@dataclass
class MultiBatchPgdConfig(DecompositionMetricConfig):
    """Reconstruction under one set of adversarial sources for several batches together."""

    impl: ClassVar[str] = f"{_METRICS}.outputs:MultiBatchPgd"
    start: Literal["random", "ones", "zeroes"] = "random"
    """Where the sources start."""
    step_size: float = 0.1
    """Length of a signed step."""
    n_steps: int = 20
    """Number of steps."""
    routing: Routing = "all"
    """How modules are chosen per row; the choice of a batch is kept through all steps."""
    n_batches: int | None = None
    """Batches to take; none for all evaluation batches."""
    probability: float = 0.5
    """Probability of each module in static routing."""


@dataclass
class LossMetricConfig(DecompositionMetricConfig):
    """Any loss, evaluated and not trained on."""

    impl: ClassVar[str] = f"{_METRICS}.outputs:LossValue"
    loss: DecompositionLossConfig = field(default_factory=UnmaskedReconConfig)
    """The loss."""
