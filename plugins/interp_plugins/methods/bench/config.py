"""Configuration of `interp bench`; no heavy imports."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from interp_plugins.models.image_text.config import ImageTextOptions
from interp_registry.choices import DatasetConfig

__all__ = ["BenchConfig"]


@dataclass
class BenchConfig:
    """Image-text benchmarks of one or more models."""

    models: list[str] = field(default_factory=list, metadata={"positional": True})
    """`clip-bow` and `clip-comp` (embedded), folders of CLIP or SigLIP models, or hub names; default: both embedded ones. Models of images
    alone (timm, Hugging Face, `vit-d64`) take part in linear probes"""
    datasets: list[DatasetConfig] = field(default_factory=list)
    """what to score on, e.g. `world_twins,winoground`; default: the suite"""
    suite: Literal["world", "clip", "linear-probe"] = "world"
    """`world`: all data sets of the embedded world; `linear-probe`: its labelled ones, with the probe; `clip`: besides `world`
    Winoground, What'sUp, Flickr30k and ImageNet from the hub, and COCO, SugarCrepe and ARO where their files lie under their
    default names in the working folder"""
    limit: int | None = None
    """score only the first so many samples of each data set"""
    class_names: Path | None = None
    """file of class names, a line each, in place of the data set's own"""
    templates: Path | None = None
    """file of prompt templates, a line each with `{c}` or `{}` for the class"""
    linear_probe: bool = False
    """also train a linear classifier on the image embeddings of the training split"""
    compare: Path | None = None
    """JSON file of published values, {"data set": {"metric": value}}, shown beside ours"""
    cache: bool = True
    """keep embeddings, by digest of weights and data, so that they are computed once"""
    loading: ImageTextOptions = field(default_factory=ImageTextOptions)
    """how models are loaded and run"""
