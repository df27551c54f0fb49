"""Configuration of the lens ``nla``."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from interp_plugins.methods.lens.choices import LensConfig
from interp_registry.errors import ConfigError

__all__ = ["NlaConfig"]


@dataclass
class NlaConfig(LensConfig):
    """A natural-language autoencoder: one model writes about an activation, another reads that back into an activation.

    Both begin as copies of the frozen model, or as released checkpoints. Training has two phases: a supervised warm start, then GRPO
    with minus the normalised reconstruction error as the reward.
    """

    impl: ClassVar[str] = "interp_plugins.methods.lens.nla.lens:build"

    layer: int | None = None
    """Which layer (index of hidden_states; layer K + 1 is the output of block K); the middle one of the dump when not given."""
    verbaliser: str = ""
    """Folder of a released verbaliser (nla_meta.yaml) to begin with; a copy of the model when empty."""
    reconstructor: str = ""
    """Folder of a released reconstructor to begin with; the model's blocks up to the layer when empty."""
    injection_scale: float | None = None
    """Length of an activation in the prompt; by default that of the checkpoint, else the mean length at the layer."""
    marker: str | None = None
    """Marker in a new prompt; by default the first character of U+3200 to U+33FF that is one token, else an unused special token."""
    prompt: str | None = None
    """New verbaliser's prompt with {injection_char}; by default one for chat models or a plain one."""
    reading: str | None = None
    """New reconstructor's prompt with {explanation}; by default one that goes with the prompt."""
    max_tokens: int = 24
    """Tokens of an explanation at most."""
    label_tokens: int = 16
    """The warm start's labels are the text so far: at most this many of its last tokens."""
    sft_steps: int = 300
    """Steps of the supervised warm start; the other steps of the training are GRPO."""
    batch_size: int = 32
    """Rows of a warm-start step."""
    lr: float = 1e-3
    """Learning rate of both models in the warm start."""
    rl_lr: float = 1e-4
    """Learning rate of the verbaliser in GRPO."""
    rl_critic_lr: float = 5e-4
    """Learning rate of the reconstructor in GRPO; it learns from the same explanations."""
    prompts: int = 8
    """Activations of a GRPO step."""
    group: int = 8
    """Explanations drawn for each."""
    kl: float = 0.01
    """Weight of the divergence from the warm-started verbaliser."""
    temperature: float = 1.0
    """Temperature of the draws in training."""
    reward: Literal["mse", "log_mse"] = "mse"
    """Minus the normalised error, or minus its logarithm."""
    shuffled: bool = False
    """Control: the verbaliser is given another row's activation, in both phases."""
    eval_rows: int = 128
    """Held-out rows by which progress is judged, one per document."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass in place of keeping them."""

    def __post_init__(self) -> None:
        for name in ("max_tokens", "label_tokens", "batch_size", "prompts", "eval_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{getattr(self, name)} is too few", key=name, hint="at least 1")
        if self.sft_steps < 0:
            raise ConfigError(f"{self.sft_steps} steps", key="sft_steps", hint="0 leaves the warm start out")
        if self.group < 2:
            raise ConfigError(
                f"{self.group} explanations have nothing to be compared with", key="group", hint="at least 2"
            )
        for name in ("lr", "rl_lr", "rl_critic_lr", "temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{getattr(self, name)} is not greater than 0", key=name)
        if self.injection_scale is not None and not self.injection_scale > 0:
            raise ConfigError(f"{self.injection_scale} is no length", key="injection_scale")
