"""Configurations of ``interp spd``: targets, causal-importance functions, losses, metrics, the decomposition itself.

Dataclasses only. Every named thing is a choice that other packages can add to.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import draccus

from interp_plugins.methods.spd.loss_config import DecompositionLossConfig
from interp_plugins.methods.spd.metric_config import DecompositionMetricConfig
from interp_registry.choices import ChoiceConfig
from interp_registry.training.schedules import ScheduleConfig

__all__ = [
    "DecomposeConfig",
    "GlobalSharedMlpConfig",
    "GlobalTransformerConfig",
    "ImportanceConfig",
    "LanguageTargetConfig",
    "PretrainConfig",
    "ResidualMlpTargetConfig",
    "RunConfig",
    "ScalarMlpConfig",
    "SharedMlpConfig",
    "StartsConfig",
    "TargetConfig",
    "TmsTargetConfig",
    "VectorMlpConfig",
    "WarmupConfig",
]

_IMPORTANCE = "interp_plugins.methods.spd.building"


# --- causal-importance functions -------------------------------------------------------------------------------------


@dataclass
class ImportanceConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A causal-importance function. ``build(bank)`` gives an ``ImportanceFunction``."""


@dataclass
class ScalarMlpConfig(ImportanceConfig):
    """One MLP per component on its own inner activation."""

    impl: ClassVar[str] = f"{_IMPORTANCE}:build_scalar_mlp"
    hidden: list[int] = field(default_factory=lambda: [16])
    """Hidden widths; an empty list gives the linear gate of the first code."""
    kernel: Literal["auto", "compiled", "chunked", "plain"] = "auto"
    """How one-hidden-layer gates are computed; all give the same up to rounding."""


@dataclass
class VectorMlpConfig(ImportanceConfig):
    """One MLP per component on the module's input vector."""

    impl: ClassVar[str] = f"{_IMPORTANCE}:build_vector_mlp"
    hidden: list[int] = field(default_factory=lambda: [8])
    """Hidden widths."""


@dataclass
class SharedMlpConfig(ImportanceConfig):
    """One MLP per module on its input vector, for all its components."""

    impl: ClassVar[str] = f"{_IMPORTANCE}:build_shared_mlp"
    hidden: list[int] = field(default_factory=lambda: [256])
    """Hidden widths."""


@dataclass
class GlobalSharedMlpConfig(ImportanceConfig):
    """One MLP on the inputs of all modules, for all components."""

    impl: ClassVar[str] = f"{_IMPORTANCE}:build_global_shared_mlp"
    hidden: list[int] = field(default_factory=lambda: [256])
    """Hidden widths."""


@dataclass
class GlobalTransformerConfig(ImportanceConfig):
    """One bidirectional transformer on the inputs of all modules along the sequence, for all components."""

    impl: ClassVar[str] = f"{_IMPORTANCE}:build_global_transformer"
    width: int = 128
    """Width of the residual stream."""
    n_blocks: int = 2
    """Number of blocks."""
    n_heads: int = 4
    """Attention heads of each block."""
    mlp_width: int = 512
    """Width of the MLPs."""


# --- targets ---------------------------------------------------------------------------------------------------------


@dataclass
class TargetConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A target model. ``build(store)`` gives a loaded target; toys are trained first if they are not stored."""

    path: str | None = None
    """Load from here instead of training: a stored target, a folder of the published layout, or wandb:entity/project/runs/id."""


@dataclass
class TmsTargetConfig(TargetConfig):
    """Toy model of superposition."""

    impl: ClassVar[str] = "interp_plugins.methods.spd.targets.recipes:TmsRecipe"
    n_features: int = 5
    """Number of features."""
    n_hidden: int = 2
    """Number of hidden dimensions."""
    n_hidden_layers: int = 0
    """Fixed identity layers between the two matrices."""
    tied: bool = True
    """Whether the second matrix is the first transposed."""
    zero_bias: bool = False
    """Start the bias at zero instead of the usual uniform numbers."""
    steps: int = 10_000
    """Training steps."""
    batch_size: int = 1024
    """Rows per step."""
    learning_rate: float = 5e-3
    """AdamW rate, constant."""
    weight_decay: float = 0.01
    """AdamW weight decay."""
    feature_probability: float = 0.05
    """Probability that a feature is active."""
    n_seeds: int = 24
    """Seeds trained side by side; the first that passes is taken."""
    tolerance: float = 0.1
    """A feature is preserved when its one-hot input of 0.75 comes back within this."""


@dataclass
class ResidualMlpTargetConfig(TargetConfig):
    """Residual MLP that computes relu(x) + x."""

    impl: ClassVar[str] = "interp_plugins.methods.spd.targets.recipes:ResidualMlpRecipe"
    n_features: int = 100
    """Number of features."""
    d_embed: int = 1000
    """Width of the residual stream."""
    d_mlp: int = 50
    """Neurons per layer."""
    n_layers: int = 1
    """Number of MLPs."""
    steps: int = 1000
    """Training steps."""
    batch_size: int = 2048
    """Rows per step."""
    learning_rate: float = 3e-3
    """AdamW rate, quarter-cosine."""
    weight_decay: float = 0.01
    """AdamW weight decay."""
    feature_probability: float = 0.01
    """Probability that a feature is active."""


@dataclass
class LanguageTargetConfig(TargetConfig):
    """A causal language model of the Hugging Face hub, a local folder, or the embedded one."""

    impl: ClassVar[str] = "interp_plugins.methods.spd.targets.language:build_language_target"
    model: str = "lm-d64"
    """Name of an embedded model, a name on the hub, or a folder."""
    data: str = "shapes"
    """Data set whose texts are read: an embedded one, a table, or a name on the hub."""
    n_texts: int = 1024
    """Texts to draw batches from."""
    sequence_length: int = 64
    """Tokens per sequence."""


# --- the decomposition -----------------------------------------------------------------------------------------------


@dataclass
class WarmupConfig:
    """Training of the components alone on faithfulness, before the decomposition proper."""

    steps: int = 0
    """Number of steps."""
    learning_rate: float = 0.01
    """AdamW rate."""
    weight_decay: float = 0.1
    """AdamW weight decay."""


@dataclass
class StartsConfig:
    """Several starts of a decomposition; the one with the least loss goes on."""

    n: int = 1
    """Number of starts, each from a seed of its own."""
    steps: int = 5000
    """Training steps after which one is chosen."""


@dataclass
class DecomposeConfig:
    """One decomposition, completely described."""

    target: TargetConfig = field(default_factory=TmsTargetConfig)
    """Target model."""
    feature_probability: float = 0.05
    """Probability that a feature of a toy's input is active."""
    data_generation: str = "at_least_zero_active"
    """How a toy's inputs are drawn: at_least_zero_active, or exactly_one_active to exactly_five_active."""
    components: dict[str, int] = field(default_factory=dict)
    """Pattern of module names -> number of components."""
    identities: dict[str, int] = field(default_factory=dict)
    """The same for identities put before modules."""
    importance: ImportanceConfig = field(default_factory=ScalarMlpConfig)
    """Causal-importance function."""
    sigmoid: Literal["leaky_hard", "upper_leaky_hard", "hard", "normal", "swish_hard"] = "leaky_hard"
    """Squashing of the importances."""
    leak: Literal["both", "upwards", "signed"] = "both"
    """leaky_hard below zero: signed, the value leaks (paper); both, only the gradient (2025); upwards, only one that raises (2026)."""
    initial: Literal["target", "random"] = "target"
    """Initial components: drawn along the target's weights (paper) or not (later code)."""
    tie: Literal["auto", "storage", "none"] = "auto"
    """Share storage between the two TMS matrices' components; auto does so when the target is tied."""
    delta: bool = False
    """Whether the delta component takes part in stochastic and adversarial masks."""
    sampling: Literal["continuous", "binomial"] = "continuous"
    """Sources of stochastic masks."""
    n_mask_samples: int = 1
    """Masks per stochastic loss and step."""
    distance: Literal["mse", "kl"] = "mse"
    """Distance between outputs."""
    losses: dict[str, DecompositionLossConfig] = field(default_factory=dict)
    """Losses by label."""
    steps: int = 40_000
    """Training steps."""
    stop_after: int | None = None
    """Stop after this many of them, the schedules unchanged."""
    batch_size: int = 4096
    """Rows (or sequences) per step."""
    accumulate: int = 1
    """Parts of equal size in which a batch is computed one after another, to save memory."""
    learning_rate: float = 1e-3
    """AdamW rate."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Course of the rate; the paper's "cosine" is a quarter period."""
    clip_components: float | None = None
    """Largest gradient norm of the components."""
    clip_importance: float | None = None
    """Largest gradient norm of the importance functions."""
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    """Faithfulness warm-up."""
    starts: StartsConfig = field(default_factory=StartsConfig)
    """Several starts of which the best goes on."""
    skip_zero_rows: bool = True
    """Compute rows whose input is zero once instead of one by one, where that is exact."""
    bf16: bool = False
    """Run the forward passes in bfloat16 (accelerators only)."""
    compile: bool = False
    """Let torch.compile fuse the importance function; for GPUs, on CPUs the kernels of the tool are faster."""
    log_every: int = 100
    """Steps between two reports of losses."""
    checkpoint_every: int = 5000
    """Steps between two checkpoints."""
    eval_batch_size: int = 4096
    """Rows per evaluation batch."""
    n_eval_batches: int = 8
    """Evaluation batches."""
    alive_threshold: float = 0.1
    """Importance above which a component counts as firing."""
    metrics: dict[str, DecompositionMetricConfig] = field(default_factory=dict)
    """Metrics and figures by label."""
    published: dict[str, Any] = field(default_factory=dict)
    """Keys of a published configuration that have no meaning here, kept for the record."""


# --- stages ----------------------------------------------------------------------------------------------------------


@dataclass
class RunConfig:
    """Which experiments to decompose, and what to change in them."""

    experiments: list[str] = field(default_factory=list, metadata={"positional": True, "complete": "experiments/spd"})
    """Names (`interp catalog list experiments`), or YAML files (ours or published), comma-separated; none for all."""
    setting: Literal["paper", "tuned"] = "paper"
    """The paper's setting, or the tuned later one."""
    target_seed: int = 0
    """Seed of the target's training, apart from the decomposition's --seed."""
    seeds: list[int] = field(default_factory=list)
    """Seeds decomposed side by side in one process, a single start each, in place of --seed; toy targets."""
    steps: int | None = None
    """Training steps."""
    stop_after: int | None = None
    """Stop after this many of them, the schedules unchanged."""
    batch_size: int | None = None
    """Rows (or sequences) per step."""
    learning_rate: float | None = None
    """AdamW rate."""
    feature_probability: float | None = None
    """Probability that a feature of a toy's input is active."""
    components: dict[str, int] = field(default_factory=dict)
    """Pattern of module names -> number of components."""
    target: dict[str, Any] = field(default_factory=dict)
    """Fields of the target to change, e.g. --target.n_seeds=8."""
    importance: dict[str, Any] = field(default_factory=dict)
    """Fields of the importance function to change, e.g. --importance.kernel=plain."""
    losses: dict[str, Any] = field(default_factory=dict)
    """Losses to change by label, e.g. --losses.importance_minimality.coeff=1e-3; null removes one."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Metrics to change by label."""
    schedule: dict[str, Any] = field(default_factory=dict)
    """Fields of the learning rate's schedule to change."""
    warmup: dict[str, Any] = field(default_factory=dict)
    """Fields of the faithfulness warm-up to change."""
    starts: dict[str, Any] = field(default_factory=dict)
    """Starts of which the best goes on, e.g. --starts.n=1 for a single one."""
    sigmoid: str | None = None
    """Squashing of the importances."""
    leak: str | None = None
    """leaky_hard below zero: signed, both or upwards."""
    delta: bool | None = None
    """Whether the delta component takes part."""
    sampling: str | None = None
    """Sources of stochastic masks: continuous or binomial."""
    n_mask_samples: int | None = None
    """Masks per stochastic loss and step."""
    skip_zero_rows: bool | None = None
    """Compute rows whose input is zero once."""
    compile: bool | None = None
    """Let torch.compile fuse the importance function; for GPUs, on CPUs the kernels of the tool are faster."""
    log_every: int | None = None
    """Steps between two reports of losses."""
    checkpoint_every: int | None = None
    """Steps between two checkpoints."""
    eval_batch_size: int | None = None
    """Rows per evaluation batch."""
    n_eval_batches: int | None = None
    """Evaluation batches."""
    other: dict[str, Any] = field(default_factory=dict)
    """Any other field of the experiment, e.g. --other.clip_components=0.1."""

    def changes(self) -> dict[str, Any]:
        """Fields of the experiment that this run changes."""
        own = ("experiments", "setting", "target_seed", "seeds", "other")
        given = {k: v for k, v in vars(self).items() if k not in own and v is not None and v != {}}
        return {**given, **self.other}


@dataclass
class PretrainConfig:
    """Which toy targets to train."""

    experiments: list[str] = field(default_factory=list, metadata={"positional": True, "complete": "experiments/spd"})
    """Names from the catalog, comma-separated; none for all with a toy target."""
    setting: Literal["paper", "tuned"] = "paper"
    """The paper's setting, or the tuned later one."""
    target_seed: int = 0
    """Seed of the training."""
    target: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipe to change, e.g. --target.n_seeds=8."""
