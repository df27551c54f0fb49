"""Named lists of data sets; no heavy imports."""

from interp_plugins.datasets.image_text import config as data
from interp_registry.choices import DatasetConfig

__all__ = ["suite"]


def suite(name: str) -> list[DatasetConfig]:
    """The data sets of a suite: `world` needs no network, `clip` adds those of the hub."""
    world: list[DatasetConfig] = [
        data.WorldPairs(n_captions=5),
        data.WorldTwins(),
        data.WorldChoices(),
        data.WorldClasses(attribute="colour"),
        data.WorldClasses(attribute="shape"),
    ]
    if name == "world":
        return world
    hub: list[DatasetConfig] = [
        data.Winoground(),
        data.WhatsUp(subset="Controlled_Images_A"),
        data.WhatsUp(subset="Controlled_Images_B"),
        data.WhatsUp(subset="VG_Relation"),
        data.WhatsUp(subset="VG_Attribution"),
        data.Flickr30k(),
        data.ImageNet(),
    ]
    return world + hub
