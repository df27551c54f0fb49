"""Configurations of the losses. Dataclasses only."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import draccus

from interp_registry.choices import ChoiceConfig

__all__ = [
    "DecompositionLossConfig",
    "EmbeddingReconConfig",
    "FaithfulnessConfig",
    "FrequencyMinimalityConfig",
    "HiddenActivationsConfig",
    "ImportanceMinimalityConfig",
    "MaskedReconConfig",
    "PersistentReconConfig",
    "PgdReconConfig",
    "SchattenConfig",
    "StochasticReconConfig",
    "UnmaskedReconConfig",
]

_LOSSES = "interp_plugins.methods.spd.losses"
Over = Literal["all", "layerwise", "subset"]
Routing = Literal["all", "uniform_k", "static"]


@dataclass
class DecompositionLossConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A loss of a decomposition. ``build()`` gives a callable on a ``Step`` that returns one number per run."""

    coeff: float = 1.0
    """Weight in the total; 0 computes and reports the loss without training on it."""


@dataclass
class FaithfulnessConfig(DecompositionLossConfig):
    """Squared error between the sum of the components and the weights."""

    impl: ClassVar[str] = f"{_LOSSES}.weights:Faithfulness"
    relative: bool = False
    """Mean over modules of |W - VU|^2 / |W|^2 instead of the error per element."""


@dataclass
class ImportanceMinimalityConfig(DecompositionLossConfig):
    """Few important components: L_p of the importances, or a smooth L0."""

    impl: ClassVar[str] = f"{_LOSSES}.weights:ImportanceMinimality"
    p: float = 1.0
    """Exponent."""
    p_final: float | None = None
    """Exponent at the end of the annealing; none keeps p."""
    p_anneal_begin: float = 1.0
    """Share of the training at which the annealing begins; 1 for never."""
    p_anneal_end: float = 1.0
    """Share of the training at which it ends."""
    eps: float = 1e-12
    """Added before the power."""
    beta: float = 0.0
    """Weight of the frequency term inside the loss."""
    gamma: float | None = None
    """Width of a smooth L0, ci^2 / (ci^2 + gamma^2), in place of L_p."""
    gamma_final: float | None = None
    """Width at the end of its annealing."""
    gamma_anneal_end: float = 0.9
    """Share of the training at which gamma reaches its final value."""


@dataclass
class FrequencyMinimalityConfig(DecompositionLossConfig):
    """Components that fire rarely: sum of f log2(1 + a f) over mean firings f."""

    impl: ClassVar[str] = f"{_LOSSES}.weights:FrequencyMinimality"
    reference: float = 4096.0
    """The fixed number of positions a."""
    p: float = 1.0
    """Exponent of the firing."""
    p_final: float | None = None
    """Exponent at the end of the annealing."""
    p_anneal_begin: float = 1.0
    """Share of the training at which the annealing begins."""
    p_anneal_end: float = 1.0
    """Share of the training at which it ends."""
    eps: float = 1e-12
    """Added before the power."""
    gamma: float | None = None
    """Width of a smooth L0 in place of L_p."""
    gamma_final: float | None = None
    """Width at the end of its annealing."""
    gamma_anneal_end: float = 0.9
    """Share of the training at which gamma reaches its final value."""


@dataclass
class SchattenConfig(DecompositionLossConfig):
    """Norms of the components, weighted by their importances."""

    impl: ClassVar[str] = f"{_LOSSES}.weights:Schatten"
    p: float = 2.0
    """Exponent of the importances."""


@dataclass
class StochasticReconConfig(DecompositionLossConfig):
    """Reconstruction under stochastic masks."""

    impl: ClassVar[str] = f"{_LOSSES}.reconstruction:StochasticRecon"
    over: Over = "all"
    """Replace all modules, one at a time (layerwise), or a routed subset."""
    routing: Routing = "uniform_k"
    """How a subset is drawn."""
    probability: float = 0.5
    """Probability of each module in static routing."""


@dataclass
class MaskedReconConfig(DecompositionLossConfig):
    """Reconstruction with the importances themselves as masks."""

    impl: ClassVar[str] = f"{_LOSSES}.reconstruction:MaskedRecon"
    over: Over = "all"
    """Replace all modules, one at a time (layerwise), or a routed subset."""
    routing: Routing = "uniform_k"
    """How a subset is drawn."""
    probability: float = 0.5
    """Probability of each module in static routing."""


@dataclass
class UnmaskedReconConfig(DecompositionLossConfig):
    """Reconstruction with all components kept and no delta component."""

    impl: ClassVar[str] = f"{_LOSSES}.reconstruction:UnmaskedRecon"


@dataclass
class HiddenActivationsConfig(DecompositionLossConfig):
    """Error of the modules' inputs under stochastic masks."""

    impl: ClassVar[str] = f"{_LOSSES}.reconstruction:HiddenActivations"


@dataclass
class EmbeddingReconConfig(DecompositionLossConfig):
    """Error of the one decomposed embedding's output under stochastic masks."""

    impl: ClassVar[str] = f"{_LOSSES}.reconstruction:EmbeddingRecon"
    unembed: bool = False
    """Divergence of the logits that the unembedding makes of it, in place of the squared error."""


@dataclass
class PgdReconConfig(DecompositionLossConfig):
    """Reconstruction under masks found by projected gradient ascent from a fresh start."""

    impl: ClassVar[str] = f"{_LOSSES}.adversarial:PgdRecon"
    over: Over = "all"
    """Replace all modules, one at a time (layerwise), or a routed subset."""
    routing: Routing = "uniform_k"
    """How a subset is drawn."""
    probability: float = 0.5
    """Probability of each module in static routing."""
    start: Literal["random", "ones", "zeroes"] = "random"
    """Where the sources start."""
    step_size: float = 0.1
    """Length of a signed step."""
    n_steps: int = 20
    """Number of steps."""
    scope: Literal["shared", "per_row"] = "shared"
    """One set of sources for the whole batch, or one per row."""


@dataclass
class PersistentReconConfig(DecompositionLossConfig):
    """Reconstruction under adversarial sources that live across steps and climb by Adam."""

    impl: ClassVar[str] = f"{_LOSSES}.adversarial:PersistentRecon"
    routing: Routing = "all"
    """How modules are chosen per row."""
    probability: float = 0.5
    """Probability of each module in static routing."""
    scope: Literal["shared", "per_row"] = "shared"
    """One set of sources for the whole batch, or one per row of it."""
    rate: float = 0.01
    """Adam rate of the sources."""
    betas: tuple[float, float] = (0.5, 0.99)
    """Adam's decay rates."""
    n_warmup: int = 2
    """Ascent steps before the one that counts, at every training step."""
    warmup_steps: float = 1000.0
    """Ascent steps over which the rate rises linearly (2.5 % of the training in the published recipe)."""
