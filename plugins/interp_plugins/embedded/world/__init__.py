"""The shapes world: scenes, pictures, captions and twins, the same on every platform.

Item i of a split is the same in every set: all draws are hashes of counters. ``WORLD_VERSION`` belongs in every
fingerprint of data made here.
"""

from interp_plugins.embedded.world.grammar import captions, documents, join
from interp_plugins.embedded.world.pairs import KINDS, Twins, same_words, twins
from interp_plugins.embedded.world.rendering import render
from interp_plugins.embedded.world.sampling import SPLITS, Scenes, scenes
from interp_plugins.embedded.world.tables import WORLD_VERSION

__all__ = [
    "KINDS",
    "SPLITS",
    "WORLD_VERSION",
    "Scenes",
    "Twins",
    "captions",
    "documents",
    "join",
    "render",
    "same_words",
    "scenes",
    "twins",
]
