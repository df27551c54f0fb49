"""Settings of the text bottleneck."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from interp_plugins.methods.lens.choices import LensConfig
from interp_registry.errors import ConfigError
from interp_registry.training.schedules import ScheduleConfig

__all__ = ["ACTIVATION", "TEXT", "ConsistencyConfig", "ControlConfig", "WarmStartConfig"]

ACTIVATION, TEXT = "<activation>", "<text>"
"""Where a prompt has the activation, and where the explanation."""


def _weight(start: float) -> ScheduleConfig:
    return ScheduleConfig(start=start)


@dataclass
class ControlConfig:
    """A controller that raises the weight of the fluency term while explanations cost the base model too much, and lowers it after."""

    excess: float | None = None
    """hold the explanations' nats per token this far above the base model's own texts; none: no controller"""
    integral: float = 0.002
    """weight added per step and nat of excess (dual ascent)"""
    proportional: float = 0.0
    """weight per nat of present excess"""
    largest: float = 1.0
    """upper end of the weight"""


@dataclass
class WarmStartConfig:
    """Supervised steps at the beginning: the decoder writes given texts, the encoder reads them."""

    steps: str = "30%"
    """how long: 150 or 150s (steps), 30% (of the training), 0 (none)"""
    labels: Literal["context", "caption"] = "context"
    """context: the tokens up to the activation's; caption: the first tokens of its text"""


@dataclass
class ConsistencyConfig(LensConfig):
    """Text bottleneck: activation, a few tokens of explanation, activation again (after Consistency Lens)."""

    impl: ClassVar[str] = "interp_plugins.methods.lens.consistency.lens:ConsistencyLens"

    layer: int | None = None
    """layer of the activations; default: the dump's only one"""
    tokens: int = 24
    """length of an explanation in tokens"""
    order: Literal["backward", "forward"] = "backward"
    """in which order the decoder writes; backward: the last word first, which is the nearest to the activation's own token and the easiest
    to tell; explanations are read and shown forward in either case"""
    trainable: Literal["all", "projections"] = "all"
    """all: every weight of the two clones but the embeddings; projections: only projections and prompts"""
    decoder_prompt: str = ACTIVATION
    """what the decoder reads before it writes; its words are where the learnt prompt starts from"""
    encoder_prompt: str = TEXT
    """what the encoder reads; the reconstruction is made from its last token"""
    encoder_blocks: int | None = None
    """blocks of the encoder; default: as many as lie below the layer, at least one"""
    learning_rate: float = 3e-3
    """of the clones; take less for models that are wider than the embedded ones"""
    adapter_learning_rate: float | None = None
    """of projections and prompts; default: the same"""
    rate: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(shape="cosine", end=0.02, warmup="10%"))
    """factor of both rates over the training, on top of the training's own schedule"""
    betas: tuple[float, float] = (0.9, 0.98)
    """of AdamW"""
    weight_decay: float = 0.0
    """of AdamW"""
    batch_size: int = 224
    """activations per step"""
    tau: ScheduleConfig = field(default_factory=lambda: _weight(1.0))
    """temperature of the straight-through gradient, over the steps after the warm start"""
    mse: ScheduleConfig = field(default_factory=lambda: _weight(1.0))
    """weight of the squared error over the variance"""
    writing: ScheduleConfig = field(default_factory=lambda: _weight(1.0))
    """weight of the loss of the warm start's labels under the decoder, in the steps after the warm start"""
    through_words: bool = False
    """draw words at random after the warm start and let the errors' gradient run through them to the decoder (straight-through); without,
    the decoder learns from the labels only, and the encoder reads the likeliest words that the decoder writes"""
    kl: ScheduleConfig = field(default_factory=lambda: _weight(0.15))
    """weight of the frozen model's next-token divergence when the reconstruction is swapped in"""
    fluency: ScheduleConfig = field(default_factory=lambda: _weight(0.0))
    """weight of the fluency term; a controller's weight comes on top"""
    fluency_form: Literal["nll", "kl", "reverse_kl"] = "nll"
    """nll: loss of the explanation under the base model; kl: KL(base || decoder); reverse_kl: KL(decoder || base)"""
    control: ControlConfig = field(default_factory=ControlConfig)
    """holds the explanations' loss under the base model at a target"""
    entropy: ScheduleConfig = field(default_factory=lambda: _weight(0.0))
    """weight of the entropy of the decoder's choices, as a bonus"""
    reference: ScheduleConfig = field(default_factory=lambda: _weight(0.0))
    """weight of KL(decoder || decoder as it was after the warm start)"""
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    """supervised steps first"""
    dual_path: bool = False
    """another row's activation goes through the bottleneck as well, and both are trained on"""
    resample_ablation: bool = False
    """swap in the reconstruction plus what the other row's reconstruction leaves out (needs dual_path)"""
    stop_gradient_partner: bool = False
    """no gradient through that rest"""
    cached: bool = True
    """keep keys and values while explanations are written"""
    checkpointing: bool = False
    """compute each written token again in the backward pass, to save memory"""

    def __post_init__(self) -> None:
        for name in ("tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{getattr(self, name)} is too few", key=name, hint="at least 1")
        for name, mark in (("decoder_prompt", ACTIVATION), ("encoder_prompt", TEXT)):
            if getattr(self, name).count(mark) != 1:
                raise ConfigError(f"{getattr(self, name)!r} has not exactly one {mark}", key=name)
        if self.order == "backward" and self.fluency_form != "nll":
            raise ConfigError(
                "a decoder that writes backward predicts from other words than the base model",
                key="fluency_form",
                hint="set order to forward, or fluency_form to nll",
            )
        if self.resample_ablation and not self.dual_path:
            raise ConfigError("there is no other row", key="resample_ablation", hint="set dual_path as well")
        if self.dual_path and self.batch_size < 2:
            raise ConfigError("a batch of one has no other row", key="dual_path", hint="a batch_size of 2 or more")
        if self.reference.start and self.warm_start.steps.rstrip("s%") in {"", "0"}:
            raise ConfigError("there is no warm start to stay near", key="reference", hint="set warm_start.steps")
        if not self.through_words:
            self._check_labels()

    def _check_labels(self) -> None:
        """Refuse terms whose gradient could reach the decoder only through its words."""
        terms = {name: getattr(self, name) for name in ("fluency", "entropy", "reference")}
        for name, weight in terms.items():
            if weight.start or (weight.shape != "constant" and weight.end):
                raise ConfigError("its gradient does not reach the decoder", key=name, hint="set through_words")
        if self.control.excess is not None:
            raise ConfigError("its gradient does not reach the decoder", key="control.excess", hint="set through_words")
