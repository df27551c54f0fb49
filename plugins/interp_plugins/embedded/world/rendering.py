"""Pictures of scenes: 64 x 64 RGB, from additions, multiplications, divisions, square roots and comparisons alone.

Sines and cosines are literal tables, so every operation is correctly rounded by IEEE 754 and the pictures are the same
wherever multiply and add are not fused. Steps 1 and 2 (background) run in float64, the rest in float32.

Axis letters: n pictures, m objects of one shape, 64 rows, 64 columns, 3 channels.
"""

import numpy as np
from numpy.typing import NDArray

from interp_plugins.embedded.world import tables
from interp_plugins.embedded.world.outlines import OUTLINES
from interp_plugins.embedded.world.sampling import Scenes

_WINDOW = 32
_MARGIN = _WINDOW // 2
_CHUNK = 128
_STRIPE_PERIOD = np.float32(5.0)
_BRIGHT_SUM = 330
"""Three channels whose mean is 110: brighter objects get darker textures and outlines."""

Floats = NDArray[np.float32]


def render(scenes: Scenes) -> NDArray[np.uint8]:
    """The pictures of scenes, [n, 64, 64, 3]. Each depends on its own scene alone, not on the batch."""
    size = tables.PICTURE_SIZE
    pictures = np.empty((len(scenes), size, size, 3), dtype=np.uint8)
    for first in range(0, len(scenes), _CHUNK):
        rows = slice(first, first + _CHUNK)
        pictures[rows] = _render_chunk(scenes.take(rows))
    return pictures


def _render_chunk(scenes: Scenes) -> NDArray[np.uint8]:
    canvas = np.pad(_background(scenes), ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)))
    for slot in range(tables.MAX_OBJECTS):
        present = scenes.count > slot
        for shape in range(len(tables.SHAPES)):
            rows = np.flatnonzero(present & (scenes.shape[:, slot] == shape))
            if len(rows):
                _paint(canvas, scenes, rows, slot)
    picture = canvas[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    picture = picture * (scenes.light.astype(np.float32) / np.float32(100))[:, None, None, None]
    picture = picture + _noise(scenes.noise)[..., None] + np.float32(0.5)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _background(scenes: Scenes) -> Floats:
    """Family colour, tint, linear shading and pattern, [n, 64, 64, 3]."""
    centres: NDArray[np.float64] = np.arange(tables.PICTURE_SIZE, dtype=np.float64) + np.float64(0.5)
    unit = (centres - 32.0) / 32.0
    shading = (
        unit[None, None, :] * scenes.gradient[:, 0, None, None]
        + unit[None, :, None] * scenes.gradient[:, 1, None, None]
    )
    colour = np.array(tables.FAMILY_RGB, dtype=np.float64)[scenes.theme // 3] + scenes.tint
    phase = (scenes.noise % 16).astype(np.float64)[:, None, None]
    pattern = np.choose(
        (scenes.theme % 3)[:, None, None],
        [paint(centres[None, None, :], centres[None, :, None], phase) for paint in (_dots, _waves, _strokes)],
    )
    return (colour[:, None, None, :] + (shading + 16.0 * pattern)[..., None]).astype(np.float32)


def _fraction(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return z - np.floor(z)


def _triangle_wave(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """A wave of period 1 between -1 and 1: ``4 |frac(z) - 1/2| - 1``."""
    return 4.0 * np.abs(_fraction(z) - 0.5) - 1.0


def _dots(x: NDArray[np.float64], y: NDArray[np.float64], phase: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = _fraction((x + phase) / 9.0) - 0.5, _fraction((y + 3.0 * phase) / 9.0) - 0.5
    return np.where(a * a + b * b < 0.05, 1.6, -0.2)


def _waves(x: NDArray[np.float64], y: NDArray[np.float64], phase: NDArray[np.float64]) -> NDArray[np.float64]:
    return _triangle_wave((y + phase + 3.0 * _triangle_wave((x + phase) / 16.0)) / 8.0)


def _strokes(x: NDArray[np.float64], y: NDArray[np.float64], phase: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(_triangle_wave((y + 3.0 * phase) / 22.0) > -0.3, _triangle_wave((x + phase) / 6.0), 0.0)


def _paint(canvas: Floats, scenes: Scenes, rows: NDArray[np.intp], slot: int) -> None:
    """Draw the objects of one slot and shape (the shape of the first row) into the padded canvas."""
    offset = np.arange(_WINDOW, dtype=np.float32) - np.float32(_MARGIN - 0.5)
    dx, dy = offset[None, None, :], offset[None, :, None]
    rotation = scenes.rotation[rows, slot]
    cosine = np.array(tables.COSINES, dtype=np.float32)[rotation][:, None, None]
    sine = np.array(tables.SINES, dtype=np.float32)[rotation][:, None, None]
    radius = np.array(tables.RADII, dtype=np.float32)[scenes.size[rows, slot]][:, None, None]
    outline = OUTLINES[scenes.shape[rows[0], slot]]
    distance = radius * outline((dx * cosine + dy * sine) / radius, (dy * cosine - dx * sine) / radius)
    coverage = np.clip(np.float32(0.5) - distance, 0, 1)[..., None]
    fill = _fill(scenes, rows, slot, distance)

    centre = scenes.centres()[rows, slot]
    span = np.arange(_WINDOW)
    window = (rows[:, None, None], (centre[:, 1, None] + span)[:, :, None], (centre[:, 0, None] + span)[:, None, :])
    canvas[window] = canvas[window] * (np.float32(1) - coverage) + fill * coverage


def _fill(scenes: Scenes, rows: NDArray[np.intp], slot: int, distance: Floats) -> Floats:
    """The colour inside each object, [m, 32, 32, 3]: outline, texture or plain."""
    rgb = np.array(tables.COLOUR_RGB)[scenes.colour[rows, slot]] + scenes.object_tint[rows, slot]
    rgb = np.clip(rgb, 0, 255)
    bright = (rgb.sum(axis=1) > _BRIGHT_SUM)[:, None]
    plain = rgb.astype(np.float32)
    texture = np.where(bright, np.float32(0.45) * plain, np.float32(0.5) * plain + np.float32(127))
    edge = np.where(bright, np.float32(0.35) * plain, np.minimum(plain + np.float32(90), np.float32(255)))
    masks = _texture_masks()[scenes.texture[rows, slot]][..., None]
    inside = np.where(masks, texture[:, None, None, :], plain[:, None, None, :])
    return np.where((distance > np.float32(-1))[..., None], edge[:, None, None, :], inside)


def _texture_masks() -> NDArray[np.bool_]:
    """Where the texture colour stands, by texture, [4, 32, 32]; the masks do not rotate with the object."""
    offset = np.arange(_WINDOW, dtype=np.float32) - np.float32(_MARGIN - 0.5)
    part = offset / _STRIPE_PERIOD
    part = part - np.floor(part)
    p, q = np.broadcast_arrays(part[None, :], part[:, None])
    half = np.float32(0.5)
    dotted = (p - half) * (p - half) + (q - half) * (q - half) < np.float32(0.09)
    return np.stack([np.zeros_like(dotted), q < np.float32(0.45), dotted, (p < half) ^ (q < half)])


def _noise(seeds: NDArray[np.int64]) -> Floats:
    """Grey noise -9 ... 9 per pixel, [n, 64, 64], hashed from the noise seed and the pixel number."""
    pixel = np.arange(tables.PICTURE_SIZE**2, dtype=np.uint64)
    h = seeds.astype(np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15) + pixel * np.uint64(0xD1B54A32D192ED03)
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(32)
    levels = np.uint64(2 * tables.NOISE_GREYS + 1)
    noise = (h % levels).astype(np.float32) - np.float32(tables.NOISE_GREYS)
    return noise.reshape(-1, tables.PICTURE_SIZE, tables.PICTURE_SIZE)
