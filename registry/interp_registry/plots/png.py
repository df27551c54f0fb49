"""Arrays as PNG files."""

import io
from typing import Any

from interp_registry.errors import PluginError

__all__ = ["encode_png"]


def encode_png(array: Any) -> bytes:
    """A PNG file of ``[h, w]`` grey, ``[h, w, 3]`` RGB or ``[h, w, 4]`` RGBA values.

    Args:
        array: uint8, or floats in [0, 1] (values outside are clipped, NaN is black).

    Raises:
        PluginError: If the shape is none of these.
    """
    import numpy as np
    from PIL import Image

    values = np.asarray(array)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)) or 0 in values.shape:
        raise PluginError(f"not a picture: shape {values.shape}", "expected [h, w], [h, w, 3] or [h, w, 4]")
    if values.dtype != np.uint8:
        values = np.round(np.clip(np.nan_to_num(values.astype(np.float64)), 0.0, 1.0) * 255.0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
