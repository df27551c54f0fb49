"""Configurations of `interp clip`; no heavy imports."""

from dataclasses import dataclass, field
from typing import Literal

from interp_plugins.datasets.image_text.config import WorldPairs
from interp_plugins.losses.config import InfoNceLoss
from interp_plugins.models.image_text.config import ImageTextOptions
from interp_registry.choices import DatasetConfig, LossConfig
from interp_registry.errors import ConfigError
from interp_registry.training.config import TrainingConfig
from interp_registry.training.schedules import ScheduleConfig

__all__ = ["ClipLossesConfig", "ClipTrainConfig"]


def _training() -> TrainingConfig:
    return TrainingConfig(
        steps=800,
        schedule=ScheduleConfig(shape="cosine", warmup="6%"),
        clip_norm=1.0,
        evaluate_every=100,
        checkpoint_every=100,
        monitor="recall@1",
        monitor_mode="max",
    )


@dataclass
class ClipTrainConfig:
    """Train or fine-tune an image-text model on pairs."""

    model: str = field(default="clip-bow-init", metadata={"positional": True})
    """`clip-bow-init` (embedded, untrained), `clip-bow`, `clip-comp`, a folder, or a hub name"""
    dataset: DatasetConfig = field(default_factory=lambda: WorldPairs(split="train", n=12_000, n_captions=4))
    """training pairs; each step takes one of a picture's captions at random"""
    test: DatasetConfig = field(default_factory=lambda: WorldPairs(split="evaluation", n=1000))
    """pairs that are looked at only once, at the end"""
    losses: list[LossConfig] = field(default_factory=lambda: [InfoNceLoss()])
    """losses that are added up, e.g. `infonce,cka`; only infonce has negatives: alone, the others collapse the embeddings"""
    weights: list[float] = field(default_factory=list)
    """weight of each loss; default: 1"""
    batch_size: int = 128
    """pairs in one update of each process"""
    optimiser: Literal["muon", "adamw"] = "muon"
    """muon: Muon for the matrices inside the towers and the projections, at three times the learning rate, AdamW for the rest; it
    learns several times as much per step from random weights. adamw: AdamW for all, as large pretrained models were trained"""
    lr: float = 3e-3
    """peak learning rate; 1e-5 with adamw suits fine-tuning a large pretrained model"""
    weight_decay: float = 0.1
    """decay of the matrices; norms, biases, class embeddings and the logit scale have none"""
    betas: tuple[float, float] = (0.9, 0.98)
    """decay rates of Adam's moments"""
    freeze: Literal["none", "vision", "text"] = "none"
    """tower whose weights stay as they are"""
    mixed_precision: Literal["no", "bf16"] = "no"
    """bf16: compute under autocast; weights and losses stay in float32"""
    n_validation: int = 500
    """pairs kept from training for early stopping and the collapse alarm"""
    on_collapse: Literal["warn", "stop"] = "warn"
    """what the collapse alarm does"""
    training: TrainingConfig = field(default_factory=_training)
    """steps, schedule, checkpoints, early stopping"""
    loading: ImageTextOptions = field(default_factory=ImageTextOptions)
    """how the model is loaded and evaluated"""

    def __post_init__(self) -> None:
        if not self.losses:
            raise ConfigError("there is no loss", "losses", "e.g. --losses infonce,cka")
        if self.weights and len(self.weights) != len(self.losses):
            raise ConfigError(
                f"{len(self.weights)} weights for {len(self.losses)} losses", "weights", "give one for each"
            )
        if self.batch_size < 2:
            raise ConfigError(f"{self.batch_size} pairs have no negatives", "batch_size", "at least 2")
        if self.n_validation < 2:
            raise ConfigError(f"{self.n_validation} pairs", "n_validation", "at least 2")


@dataclass
class ClipLossesConfig:
    """Values of the alignment losses over their settings, on a model's embeddings of a data set."""

    model: str = field(default="clip-bow", metadata={"positional": True})
    """embedded model, folder or hub name"""
    dataset: DatasetConfig = field(default_factory=lambda: WorldPairs(n=256))
    """pairs"""
    limit: int | None = 256
    """use only the first so many pairs"""
    k: int = 3
    """number of singular values or clusters of the surface over alpha and beta"""
    k_max: int = 16
    """largest k of the curves"""
    sigma: float | None = None
    """width of the graph's affinity; default: the median distance"""
    n_points: int = 21
    """points on each axis of the surfaces"""
    loading: ImageTextOptions = field(default_factory=ImageTextOptions)
    """how the model is loaded and run"""

    def __post_init__(self) -> None:
        if not 1 <= self.k < self.k_max:
            raise ConfigError(f"k is {self.k} and k_max {self.k_max}", "k", "at least 1 and below k_max")
        if self.n_points < 2:
            raise ConfigError(f"{self.n_points} points", "n_points", "at least 2")
