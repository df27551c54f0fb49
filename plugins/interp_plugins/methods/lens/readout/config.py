"""Configurations of the lenses that read out, and of the formats in which tuned lenses are exchanged."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from interp_plugins.methods.lens.choices import LensConfig, LensExportConfig, LensImportConfig
from interp_registry.errors import ConfigError
from interp_registry.training.config import TrainingConfig
from interp_registry.training.schedules import ScheduleConfig

__all__ = ["LogitLensConfig", "TunedExportConfig", "TunedImportConfig", "TunedLensConfig"]


@dataclass
class LogitLensConfig(LensConfig):
    """Final norm and unembedding at every layer; nothing to train."""

    impl: ClassVar[str] = "interp_plugins.methods.lens.readout.logit:LogitLens"


@dataclass
class TunedLensConfig(LensConfig):
    """One affine map per layer before final norm and unembedding (Belrose et al. 2023)."""

    impl: ClassVar[str] = "interp_plugins.methods.lens.readout.tuned:TunedLens"

    loss: Literal["kl", "ce"] = "kl"
    """kl: to the model's own prediction; ce: to the next token"""
    token_shift: int | None = None
    """tokens between an activation and what it is to predict; default: 0 for kl, 1 for ce"""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """sgd with Nesterov momentum, or adam (amsgrad) with warm-up"""
    lr_scale: float = 1.0
    """factor of the learning rate: of 1 - momentum for sgd, of 0.001 for adam"""
    momentum: float = 0.9
    """momentum of sgd"""
    weight_decay: float = 1e-3
    """pulls each map towards the identity"""
    bias_only: bool = False
    """train the offsets and leave the matrices at the identity"""
    batch_size: int = 2048
    """activations in one update"""

    def __post_init__(self) -> None:
        for name in ("lr_scale", "batch_size"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{getattr(self, name)} is too small", name, "greater than 0")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"{self.momentum} is no momentum", "momentum", "from 0 to below 1")
        if self.token_shift is not None and self.token_shift < (1 if self.loss == "ce" else 0):
            raise ConfigError(f"{self.token_shift} looks back", "token_shift", "at least 1 for ce and 0 for kl")

    @property
    def shift(self) -> int:
        """Tokens between an activation and what it is to predict."""
        if self.token_shift is not None:
            return self.token_shift
        return 1 if self.loss == "ce" else 0

    def recipe(self, training: TrainingConfig) -> TrainingConfig:
        """Linear decay to 0, for adam after a warm-up of a fifth of the steps (at most 1,000), unless a schedule was chosen."""
        if training.schedule != ScheduleConfig():
            return training
        warmup = min(1000, training.steps // 5) if self.optimiser == "adam" else 0
        return replace(training, schedule=ScheduleConfig(shape="linear", warmup=str(warmup)))


@dataclass
class TunedImportConfig(LensImportConfig):
    """A folder of the tuned-lens package: config.json and params.pt."""

    impl: ClassVar[str] = "interp_plugins.methods.lens.readout.published:import_tuned"


@dataclass
class TunedExportConfig(LensExportConfig):
    """A folder that the tuned-lens package reads: config.json and params.pt."""

    impl: ClassVar[str] = "interp_plugins.methods.lens.readout.published:export_tuned"
