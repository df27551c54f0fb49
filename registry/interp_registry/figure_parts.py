"""The parts that Figures are made of: lines, references, nodes, edges, pictures, candidate tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from interp_registry.errors import PluginError
from interp_registry.records import Record

__all__ = [
    "Edge",
    "Matrix",
    "Node",
    "Order",
    "Picture",
    "Places",
    "Reference",
    "Series",
    "TextMatrix",
    "Texts",
    "TopToken",
    "Vector",
]

if TYPE_CHECKING:
    # What callers may hand over. Records coerce it, by the annotations below, to nested tuples (arrays work too).
    Vector: TypeAlias = Sequence[float]
    Matrix: TypeAlias = Sequence[Sequence[float]]
    Texts: TypeAlias = Sequence[str]
    TextMatrix: TypeAlias = Sequence[Sequence[str]]
    Places: TypeAlias = Sequence[tuple[int, int]]
    Order: TypeAlias = Sequence[int]
else:
    Vector: TypeAlias = tuple[float, ...]
    Matrix: TypeAlias = tuple[tuple[float, ...], ...]
    Texts: TypeAlias = tuple[str, ...]
    TextMatrix: TypeAlias = tuple[tuple[str, ...], ...]
    Places: TypeAlias = tuple[tuple[int, int], ...]
    Order: TypeAlias = tuple[int, ...]

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Series(Record):
    """One line: ``y`` over ``x``, optionally with a band from ``low`` to ``high``."""

    name: str
    x: Vector
    y: Vector
    low: Vector = ()
    high: Vector = ()
    dashed: bool = False
    markers: bool = False

    def check(self) -> None:
        """All vectors have one length (bands may be absent)."""
        n = len(self.x)
        if not (len(self.y) == n and len(self.low) == len(self.high) and len(self.low) in (0, n)):
            raise PluginError(f"Series {self.name!r}: x, y, low and high differ in length")


@dataclass(frozen=True)
class Reference(Record):
    """A straight line across a plot at ``value`` of one axis, such as chance or a null."""

    value: float
    label: str = ""
    axis: Literal["x", "y"] = "y"


@dataclass(frozen=True)
class Node(Record):
    """A node of a :class:`Graph`; without coordinates the renderer places it on a circle."""

    label: str
    group: str = ""
    size: float = 1.0
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Edge(Record):
    """An edge between the nodes at two indices of :attr:`Graph.nodes`."""

    source: int
    target: int
    weight: float = 1.0
    label: str = ""


@dataclass(frozen=True)
class Picture(Record):
    """One PNG picture with its caption."""

    png: bytes
    caption: str = ""

    def check(self) -> None:
        """The bytes begin as PNG files do."""
        if not self.png.startswith(_PNG_MAGIC):
            raise PluginError(f"Picture {self.caption!r}: not a PNG file (it starts with {self.png[:8]!r})")

    @classmethod
    def of_array(cls, array: Any, caption: str = "") -> Self:
        """Encode ``[h, w]`` grey or ``[h, w, 3 | 4]`` colour values (uint8, or floats in [0, 1]) as PNG."""
        from interp_registry.plots.png import encode_png

        return cls(encode_png(array), caption)


@dataclass(frozen=True)
class TopToken(Record):
    """A candidate token and its probability (or another number)."""

    token: str
    value: float
