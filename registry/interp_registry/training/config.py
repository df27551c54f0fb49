"""Settings of the training loop, for use in the configurations of methods."""

from dataclasses import dataclass, field
from typing import Literal

from interp_registry.errors import ConfigError
from interp_registry.training.schedules import ScheduleConfig

__all__ = ["TrainingConfig"]


@dataclass
class TrainingConfig:
    """How long to train, and what to do meanwhile."""

    steps: int = 1000
    """number of updates"""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """learning rates over the steps, as a factor of each optimiser's own"""
    accumulate: int = 1
    """batches whose gradients are averaged for one update"""
    clip_norm: float | None = None
    """largest norm of the whole gradient; longer ones are shortened to it"""
    log_every: int = 10
    """steps between logged losses"""
    evaluate_every: int | None = None
    """steps between evaluations; default: only at the end"""
    checkpoint_every: int | None = 100
    """steps between checkpoints; none: only when interrupted and at the end"""
    keep_last: int = 2
    """how many of the latest checkpoints to keep"""
    keep_best: int = 1
    """how many checkpoints with the best monitored value to keep besides"""
    monitor: str | None = None
    """evaluated value that decides which checkpoint is best and when to stop early, e.g. loss"""
    monitor_mode: Literal["min", "max"] = "min"
    """whether a smaller or a larger monitored value is better"""
    patience: int | None = None
    """stop after this many evaluations without a better monitored value"""

    def __post_init__(self) -> None:
        positive = ("steps", "accumulate", "log_every", "evaluate_every", "checkpoint_every", "keep_last", "patience")
        for name in positive:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{value} is too few", key=name, hint="at least 1")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"{self.clip_norm} is no length", key="clip_norm", hint="a number greater than 0")
        if self.patience is not None and self.monitor is None:
            raise ConfigError(
                "nothing is monitored", key="patience", hint="set monitor to an evaluated value, e.g. loss"
            )
