"""Configuration of the embedded data sets, of the zoo's models, and of the stages that make and check the zoo."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from interp_registry.choices import DatasetConfig

__all__ = ["ShapesConfig", "ShapesTwinsConfig", "WorldSplit", "ZooBuildConfig", "ZooVerifyConfig"]

WorldSplit = Literal["evaluation", "train"]
"""The zoo was trained on ``train``; everything is measured on ``evaluation``."""


@dataclass
class ShapesConfig(DatasetConfig):
    """Pictures of small scenes with English captions, made by a hash: works without downloads."""

    impl: ClassVar[str] = "interp_plugins.embedded.datasets:Shapes"

    split: WorldSplit = "evaluation"
    """evaluation (1,024 scenes, 5 captions each) or train (12,000 scenes, 4 captions each)"""
    captions_per_item: int = 1
    """how many captions of a scene are joined into one text"""
    limit: int | None = None
    """number of scenes; the size of the split when not given"""


@dataclass
class ShapesTwinsConfig(DatasetConfig):
    """Pairs of pictures whose captions are made of the same words, after Winoground."""

    impl: ClassVar[str] = "interp_plugins.embedded.datasets:ShapesTwins"

    split: WorldSplit = "evaluation"
    """evaluation (400 items) or train (6,000 items); they share no combination of colours and shapes"""
    limit: int | None = None
    """number of items; the size of the split when not given"""


@dataclass
class ZooBuildConfig:
    """Train the models of the zoo again, from nothing."""

    only: list[str] = field(default_factory=list)
    """names of the models to train; all when not given"""
    training_seeds: list[int] = field(default_factory=list)
    """train each model under each of these seeds instead of the recipe's, e.g. for error bars"""


@dataclass
class ZooVerifyConfig:
    """Measure the zoo against its thresholds."""

    weights: Path | None = None
    """folder of model folders to measure; the shipped ones when not given"""
    first_scene: int = 0
    """measure 1,024 evaluation scenes from this number on; 1024 gives scenes that nothing was ever chosen by"""
    record: bool = False
    """write the measurements into the manifest of the weights"""
