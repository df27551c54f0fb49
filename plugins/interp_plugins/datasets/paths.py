"""Paths and images that come out of data: confined to their folder, and decoded within limits."""

from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from interp_registry.errors import DataError

__all__ = ["IMAGE_ENDINGS", "inside", "open_image"]

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
"""Endings of files that are taken for images."""


def inside(folder: Path, name: str) -> Path:
    """The file ``name`` below ``folder``.

    Raises:
        DataError: The name leads out of the folder.
    """
    root = folder.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise DataError(f"{name!r} leads out of {folder}", "data may only name files below its own folder")
    return path


def open_image(file: Path | IO[bytes], name: str = "") -> Image.Image:
    """Decode an image as RGB.

    Raises:
        DataError: It is missing, no image, broken, or so large that it may be an attack.
    """
    shown = name or str(file)
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except FileNotFoundError as err:
        raise DataError(f"there is no image {shown!r}") from err
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as err:
        raise DataError(f"{shown} is no image that can be read: {err}") from err
