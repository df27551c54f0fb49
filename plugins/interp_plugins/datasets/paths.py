"""Paths, images and texts that come out of data: confined to their folder, decoded within limits, and checked."""

from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from interp_registry.errors import DataError

__all__ = ["IMAGE_ENDINGS", "decoded", "inside", "open_image", "readable"]

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is decoded, whatever a file is called: for others, such as PostScript, Pillow would start a program that runs the file."""

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
"""Endings of files that are taken for images."""


def inside(folder: Path, name: str) -> Path:
    """The file ``name`` below ``folder``.

    Raises:
        DataError: The name leads out of the folder, or cannot be a file's.
    """
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        path.exists()
    except (ValueError, OSError, RuntimeError) as err:
        raise DataError(f"{name[:80]!r} cannot be the name of a file: {err}") from err
    if not path.is_relative_to(root):
        raise DataError(f"{name!r} leads out of {folder}", "data may only name files below its own folder")
    return path


def open_image(file: Path | IO[bytes], name: str = "", box: tuple[int, int, int, int] | None = None) -> Image.Image:
    """Decode an image as RGB, whole or cropped.

    Raises:
        DataError: It is missing, no image, broken, or so large that it may be an attack.
    """
    shown = name or str(file)
    try:
        with Image.open(file, formats=_FORMATS) as image:
            return (image if box is None else image.crop(box)).convert("RGB")
    except FileNotFoundError as err:
        raise DataError(f"there is no image {shown!r}") from err
    except UnidentifiedImageError as err:
        raise DataError(f"{shown} is no image that can be read", f"known are {', '.join(_FORMATS)}") from err
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as err:
        raise DataError(f"{shown} is no image that can be read: {err}") from err


def readable(text: str, where: str) -> str:
    """The text itself.

    Raises:
        DataError: It holds half of a character, as JSON can write it and no tokenizer can read it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise DataError(f"{where!r} is no text: {err}", "write it again as UTF-8") from err
    return text


def decoded(data: bytes, where: str) -> str:
    """The text that some bytes are.

    Raises:
        DataError: They are no UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as err:
        raise DataError(f"{where!r} is no text: {err}", "write it again as UTF-8") from err
