"""Configurations of the baselines."""

from dataclasses import dataclass
from typing import ClassVar

from interp_plugins.methods.lens.choices import LensConfig
from interp_registry.errors import ConfigError

__all__ = ["LinearLensConfig", "MeanLensConfig"]


@dataclass
class MeanLensConfig(LensConfig):
    """Every activation is given back as the mean of the training rows: what a bottleneck that carries nothing can do."""

    impl: ClassVar[str] = "interp_plugins.methods.lens.baselines.mean:MeanLens"


@dataclass
class LinearLensConfig(LensConfig):
    """The best linear bottleneck of a given rank: principal components of the training rows, in closed form."""

    impl: ClassVar[str] = "interp_plugins.methods.lens.baselines.linear:LinearLens"

    rank: int = 8
    """numbers that pass through the bottleneck"""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"{self.rank} is too small", "rank", "at least 1")
