"""Hooks of the image-text data sets."""

from typing import TYPE_CHECKING

from interp_registry import hookimpl

if TYPE_CHECKING:
    from interp_registry.choices import Registry

__all__ = ["register"]


@hookimpl
def register(registry: "Registry") -> None:
    """Add the data sets."""
    from interp_plugins.datasets.image_text import config

    registry.add("dataset", "world_pairs", config.WorldPairs)
    registry.add("dataset", "world_twins", config.WorldTwins)
    registry.add("dataset", "world_choices", config.WorldChoices)
    registry.add("dataset", "world_classes", config.WorldClasses)
    registry.add("dataset", "winoground", config.Winoground)
    registry.add("dataset", "whatsup", config.WhatsUp)
    registry.add("dataset", "flickr30k", config.Flickr30k)
    registry.add("dataset", "coco", config.Coco)
    registry.add("dataset", "sugarcrepe", config.SugarCrepe)
    registry.add("dataset", "aro", config.Aro)
    registry.add("dataset", "imagenet", config.ImageNet)
    registry.add("dataset", "labelled_folder", config.LabelledFolder)
    registry.add("dataset", "captioned_files", config.CaptionedFiles)
    registry.add("dataset", "webdataset_tars", config.WebDatasetTars)
