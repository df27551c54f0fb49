"""Named lists of data sets; no heavy imports."""

from pathlib import Path
from typing import get_args

from interp_plugins.datasets.image_text import config as data
from interp_registry.choices import DatasetConfig

__all__ = ["suite"]

WHATSUP = get_args(data.WhatsUpSubset)


def suite(name: str) -> list[DatasetConfig]:
    """The data sets of a suite: `world` and its labelled part `linear-probe` need no network; `clip` adds more to `world`.

    Those of the hub; and COCO, SugarCrepe and ARO, which come as files, where these lie under their default names in the
    working folder.
    """
    world: list[DatasetConfig] = [
        data.WorldPairs(n_captions=5),
        data.WorldTwins(),
        data.WorldChoices(),
        data.WorldClasses(attribute="colour"),
        data.WorldClasses(attribute="shape"),
    ]
    if name == "world":
        return world
    if name == "linear-probe":
        return [one for one in world if isinstance(one, data.WorldClasses)]
    hub: list[DatasetConfig] = [
        data.Winoground(),
        *(data.WhatsUp(subset=subset) for subset in WHATSUP),
        data.Flickr30k(),
        data.ImageNet(),
    ]
    return world + hub + _in_files()


def _in_files() -> list[DatasetConfig]:
    known = (
        data.Coco(),
        data.SugarCrepe(),
        data.Aro(),
        data.Aro(annotations=Path("visual_genome_attribution.json")),
        data.Aro(annotations=Path("coco_order.json")),
        data.Aro(annotations=Path("flickr30k_order.json")),
    )
    return [one for one in known if one.annotations.exists()]
