"""The ten shapes as distance functions at unit radius: negative inside, positive outside, y downward.

Axis letters: p any shape of points.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Outline = Callable[[Points, Points], Points]

_TRIANGLE_NORMALS = ((0.0, 1.0), (0.8660254, -0.5), (-0.8660254, -0.5))
_STAR_NORMALS = (
    (0.0, -1.0),
    (0.9510565, -0.3090170),
    (0.5877853, 0.8090170),
    (-0.5877853, 0.8090170),
    (-0.9510565, -0.3090170),
)
_HEXAGON_NORMALS = ((1.0, 0.0), (-1.0, 0.0), (0.5, 0.8660254), (0.5, -0.8660254), (-0.5, 0.8660254), (-0.5, -0.8660254))


def _radius(x: Points, y: Points) -> Points:
    return np.sqrt(x * x + y * y)


def _sides(x: Points, y: Points, normals: tuple[tuple[float, float], ...], offset: float) -> list[Points]:
    """Signed distance to each of several half planes."""
    weights = np.array(normals, dtype=np.float32)
    return [a * x + b * y - np.float32(offset) for a, b in weights]


def _largest(sides: list[Points]) -> Points:
    return np.maximum.reduce(sides)


def circle(x: Points, y: Points) -> Points:
    """A disc of radius .95."""
    return _radius(x, y) - np.float32(0.95)


def ring(x: Points, y: Points) -> Points:
    """An annulus between the radii .55 and 1."""
    r = _radius(x, y)
    return np.maximum(r - np.float32(1.0), np.float32(0.55) - r)


def square(x: Points, y: Points) -> Points:
    """A square of half side .82."""
    return np.maximum(np.abs(x), np.abs(y)) - np.float32(0.82)


def triangle(x: Points, y: Points) -> Points:
    """An equilateral triangle of inradius .55, tip up."""
    return _largest(_sides(x, y, _TRIANGLE_NORMALS, 0.55))


def diamond(x: Points, y: Points) -> Points:
    """A rhombus taller than wide; not a true distance."""
    return np.float32(1.35) * np.abs(x) + np.float32(0.9) * np.abs(y) - np.float32(0.95)


def star(x: Points, y: Points) -> Points:
    """A five-pointed star: the second largest of the distances to five half planes."""
    return np.sort(np.stack(_sides(x, -y, _STAR_NORMALS, 0.38)), axis=0)[-2]


def cross(x: Points, y: Points) -> Points:
    """Two crossing beams of half width .32."""
    a, b, thin, long = np.abs(x), np.abs(y), np.float32(0.32), np.float32(1.0)
    return np.minimum(np.maximum(a - thin, b - long), np.maximum(b - thin, a - long))


def crescent(x: Points, y: Points) -> Points:
    """The unit disc without a disc of radius .8 round (.5, 0)."""
    return np.maximum(_radius(x, y) - np.float32(1.0), np.float32(0.8) - _radius(x - np.float32(0.5), y))


def hexagon(x: Points, y: Points) -> Points:
    """A regular hexagon of inradius .86."""
    return _largest(_sides(x, y, _HEXAGON_NORMALS, 0.86))


def bar(x: Points, y: Points) -> Points:
    """A plank, 2.2 long and .68 thick."""
    return np.maximum(np.abs(x) - np.float32(1.1), np.abs(y) - np.float32(0.34))


OUTLINES: tuple[Outline, ...] = (circle, ring, square, triangle, diamond, star, cross, crescent, hexagon, bar)
"""In the order of ``tables.SHAPES``."""
