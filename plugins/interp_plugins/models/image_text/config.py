"""Configuration of image-text models; no heavy imports."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["ImageTextOptions"]


@dataclass
class ImageTextOptions:
    """How an image-text model is loaded and run."""

    revision: str | None = None
    """branch, tag or commit of a hub model"""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """type of the weights"""
    batch_size: int = 64
    """texts or images in one forward pass"""
