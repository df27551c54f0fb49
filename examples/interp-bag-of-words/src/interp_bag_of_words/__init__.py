"""A family of hashing models and a data set of proverbs: what interp needs to know before they are used."""

from dataclasses import dataclass
from typing import ClassVar

from interp_registry import DatasetConfig, ModelConfig, hookimpl

INTERP_API = 1


@dataclass
class BagConfig(ModelConfig):
    """Hashed character trigrams of each word, mixed with its neighbours layer by layer."""

    impl: ClassVar[str] = "interp_bag_of_words.model:BagModel"
    modality: ClassVar[str] = "language"
    width: int = 64
    """features of each layer"""
    depth: int = 3
    """layers of mixing"""
    seed: int = 0
    """seed of the random vectors"""


@dataclass
class SmallBagConfig(BagConfig):
    """The same with 16 features."""

    width: int = 16
    """features of each layer"""


@dataclass
class LargeBagConfig(BagConfig):
    """The same with 256 features."""

    width: int = 256
    """features of each layer"""


@dataclass
class ProverbsConfig(DatasetConfig):
    """English proverbs."""

    impl: ClassVar[str] = "interp_bag_of_words.proverbs:Proverbs"
    lower: bool = True
    """write them in lower case"""


@hookimpl
def register(registry) -> None:
    """Add the models and the data set."""
    registry.add("model", "bag-16", SmallBagConfig)
    registry.add("model", "bag-64", BagConfig)
    registry.add("model", "bag-256", LargeBagConfig)
    registry.add("dataset", "proverbs", ProverbsConfig)
