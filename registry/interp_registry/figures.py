"""The closed set of Figures: what a method shows, as data and never as pixels.

A stage puts Figures into its Result; the shell draws them in the terminal, in the HTML report and as PNG/SVG files,
and notebooks draw them through ``plot()`` and ``_repr_html_``. All figures are frozen, comparable, accept arrays or
nested lists, and go to strict JSON and back::

    figure = HeatMap(scores, rows=names_x, columns=names_y, title="mutual k-NN", units="score")
    assert figure_from_json(figure.to_json()) == figure

Every figure has ``title`` (one line), ``caption`` (a sentence or two: what it shows, and how far it may be trusted)
and ``name`` (stem of the files drawn from it; made from the title when empty). The set is versioned by
:data:`FIGURES_VERSION`; adding a kind or a field raises it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeAlias

from interp_registry.errors import CorruptError, PluginError, near_names
from interp_registry.figure_parts import (
    Edge,
    Matrix,
    Node,
    Order,
    Picture,
    Places,
    Reference,
    Series,
    TextMatrix,
    Texts,
    TopToken,
    Vector,
)
from interp_registry.json_values import JsonValue
from interp_registry.notebook import NotebookView
from interp_registry.records import Record

__all__ = [
    "FIGURES_VERSION",
    "Cell",
    "Edge",
    "Figure",
    "Graph",
    "HeatMap",
    "Histogram",
    "Images",
    "Lines",
    "MarkedText",
    "Matrix",
    "Node",
    "Picture",
    "Reference",
    "Scatter",
    "Series",
    "Table",
    "TopToken",
    "figure_from_json",
]

FIGURES_VERSION = 1
"""Raised whenever a kind or a field is added."""

Cell: TypeAlias = str | float | int | bool | None


@dataclass(frozen=True, kw_only=True)
class Figure(NotebookView, Record):
    """Base of all figures; only the subclasses in this module exist."""

    kind: ClassVar[str] = ""

    title: str = ""
    caption: str = ""
    name: str = ""

    def to_json(self) -> dict[str, JsonValue]:
        """A strict JSON object with ``kind``, ``v`` and the fields that differ from their defaults."""
        return {"kind": self.kind, "v": FIGURES_VERSION, **super().to_json()}

    def _require(self, holds: bool, message: str) -> None:
        if not holds:
            raise PluginError(f"{type(self).__name__} {self.title!r}: {message}")


@dataclass(frozen=True)
class HeatMap(Figure):
    """A matrix of numbers; rows run down, columns run right, NaN is an empty cell.

    Args:
        values: ``[n_rows, n_columns]`` numbers.
        rows: Row labels; empty: 0, 1, ...
        columns: Column labels; empty: 0, 1, ...
        row_title: What the rows are ("language model layer").
        column_title: What the columns are.
        units: What the numbers are, shown at the colour bar ("mutual k-NN, k = 10", "nats").
        value_range: Ends of the colour scale; ``None`` at either end takes it from the data.
        center: A value at which the colour scale diverges (0 for differences); ``None`` for a sequential scale.
        annotations: Text in each cell, same shape as ``values``; empty: the number itself where there is room.
        hover: More text for each cell, shown when pointed at.
        marked: ``(row, column)`` cells to mark, such as the best pair.
        row_order: A permutation of the rows in which to draw them, such as from clustering.
        column_order: The same for columns.
        digits: Digits after the decimal point when numbers are shown.
    """

    kind: ClassVar[str] = "heat_map"

    values: Matrix
    rows: Texts = ()
    columns: Texts = ()
    row_title: str = ""
    column_title: str = ""
    units: str = ""
    value_range: tuple[float | None, float | None] = (None, None)
    center: float | None = None
    annotations: TextMatrix = ()
    hover: TextMatrix = ()
    marked: Places = ()
    row_order: Order = ()
    column_order: Order = ()
    digits: int = 3

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self.values), len(self.values[0]) if self.values else 0

    def check(self) -> None:
        """Every row has the same length, and labels, texts, marks and orders fit the matrix."""
        n_rows, n_columns = self.shape
        self._require(all(len(row) == n_columns for row in self.values), "rows differ in length")
        for name, labels, n in (("rows", self.rows, n_rows), ("columns", self.columns, n_columns)):
            self._require(len(labels) in (0, n), f"{len(labels)} labels for {n} {name}")
        for name, texts in (("annotations", self.annotations), ("hover", self.hover)):
            fits = len(texts) == n_rows and all(len(row) == n_columns for row in texts)
            self._require(not texts or fits, f"{name} is not {n_rows} x {n_columns}")
        self._require(all(0 <= i < n_rows and 0 <= j < n_columns for i, j in self.marked), "a marked cell is outside")
        for order, n in ((self.row_order, n_rows), (self.column_order, n_columns)):
            self._require(not order or sorted(order) == list(range(n)), f"an order is not a permutation of 0..{n - 1}")

    def arranged(self) -> "HeatMap":
        """The same heat map with labels filled in and rows, columns, texts and marks in drawing order."""
        n_rows, n_columns = self.shape
        down, right = self.row_order or tuple(range(n_rows)), self.column_order or tuple(range(n_columns))
        rows, columns = self.rows or tuple(map(str, range(n_rows))), self.columns or tuple(map(str, range(n_columns)))

        def pick(matrix: Sequence[Sequence[Any]]) -> Any:
            return tuple(tuple(matrix[i][j] for j in right) for i in down) if matrix else ()

        return replace(
            self,
            values=pick(self.values),
            rows=tuple(rows[i] for i in down),
            columns=tuple(columns[j] for j in right),
            annotations=pick(self.annotations),
            hover=pick(self.hover),
            marked=tuple((down.index(i), right.index(j)) for i, j in self.marked),
            row_order=(),
            column_order=(),
        )


@dataclass(frozen=True)
class Lines(Figure):
    """Lines over a common axis: training curves, depth curves, power curves."""

    kind: ClassVar[str] = "lines"

    series: tuple[Series, ...]
    x_title: str = ""
    y_title: str = ""
    x_log: bool = False
    y_log: bool = False
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Scatter(Figure):
    """Points, optionally named and grouped.

    Args:
        x: Horizontal values.
        y: Vertical values.
        labels: A name per point; empty for none.
        groups: A group per point, which sets its colour; empty for one group.
        x_title: What x is, with its unit.
        y_title: What y is, with its unit.
        x_log: Logarithmic x axis.
        y_log: Logarithmic y axis.
        regression: Draw the least-squares line through all points and state Pearson's r and Spearman's rho
            (:func:`interp_registry.regression.fit`).
        references: Straight lines across the plot.
        equal_axes: One unit is as long in x as in y (maps).
    """

    kind: ClassVar[str] = "scatter"

    x: Vector
    y: Vector
    labels: Texts = ()
    groups: Texts = ()
    x_title: str = ""
    y_title: str = ""
    x_log: bool = False
    y_log: bool = False
    regression: bool = False
    references: tuple[Reference, ...] = ()
    equal_axes: bool = False

    def check(self) -> None:
        """Coordinates, labels and groups have one length."""
        n = len(self.x)
        self._require(len(self.y) == n, f"{n} x values but {len(self.y)} y values")
        self._require(len(self.labels) in (0, n), f"{len(self.labels)} labels for {n} points")
        self._require(len(self.groups) in (0, n), f"{len(self.groups)} groups for {n} points")


@dataclass(frozen=True)
class Histogram(Figure):
    """Counts per bin, with an observed value and a threshold marked, as for a permutation null.

    Args:
        edges: ``n + 1`` rising bin edges.
        counts: ``n`` counts.
        observed: A value to mark.
        threshold: A second value to mark, such as the critical value at alpha.
        x_title: What is counted, with its unit.
        observed_label: What the observed value is.
        threshold_label: What the threshold is.
    """

    kind: ClassVar[str] = "histogram"

    edges: Vector
    counts: Vector
    observed: float | None = None
    threshold: float | None = None
    x_title: str = ""
    observed_label: str = "observed"
    threshold_label: str = "threshold"

    def check(self) -> None:
        """There is one edge more than counts, and edges rise."""
        self._require(len(self.edges) == len(self.counts) + 1, f"{len(self.edges)} edges for {len(self.counts)} bins")
        self._require(all(a < b for a, b in zip(self.edges, self.edges[1:], strict=False)), "edges do not rise")

    @classmethod
    def of(cls, samples: Iterable[float], n_bins: int = 30, **fields: Any) -> Self:
        """Histogram of finite ``samples`` in ``n_bins`` equal bins; ``fields`` are the other arguments of the class."""
        import numpy as np

        array = np.asarray(list(samples), dtype=np.float64)
        counts, edges = np.histogram(array[np.isfinite(array)], bins=n_bins)
        return cls(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()), **fields)


@dataclass(frozen=True)
class Graph(Figure):
    """Nodes and edges: causal graphs, component graphs."""

    kind: ClassVar[str] = "graph"

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    directed: bool = False

    def check(self) -> None:
        """Every edge joins two nodes that exist."""
        n = len(self.nodes)
        self._require(all(0 <= e.source < n and 0 <= e.target < n for e in self.edges), "an edge leads to no node")


@dataclass(frozen=True)
class Images(Figure):
    """Pictures in reading order; ``columns`` = 0 lets the page decide how many stand side by side."""

    kind: ClassVar[str] = "images"

    pictures: tuple[Picture, ...]
    columns: int = 0


@dataclass(frozen=True)
class MarkedText(Figure):
    """A text whose tokens carry numbers, shown as background colour; pointing at one shows its top candidates.

    Args:
        tokens: The tokens, which joined give the text.
        values: One number per token; NaN leaves it unmarked.
        top: For each token its candidates, best first; empty for none.
        units: What the numbers are.
        value_range: Ends of the colour scale; ``None`` takes them from the data.
        center: A value at which the scale diverges.
    """

    kind: ClassVar[str] = "marked_text"

    tokens: Texts
    values: Vector
    top: tuple[tuple[TopToken, ...], ...] = ()
    units: str = ""
    value_range: tuple[float | None, float | None] = (None, None)
    center: float | None = None

    def check(self) -> None:
        """Values and candidates, where given, are one per token."""
        n = len(self.tokens)
        self._require(len(self.values) == n, f"{len(self.values)} values for {n} tokens")
        self._require(len(self.top) in (0, n), f"{len(self.top)} lists of candidates for {n} tokens")


@dataclass(frozen=True)
class Table(Figure):
    """Named columns of text and numbers.

    Args:
        columns: Column names.
        rows: Cells: text, numbers, booleans or ``None``.
        notes: Remarks under the table.
        digits: Significant digits of floats when shown; the data keep all.
    """

    kind: ClassVar[str] = "table"

    columns: Texts
    rows: tuple[tuple[Cell, ...], ...]
    notes: Texts = ()
    digits: int = 4

    def check(self) -> None:
        """Each row has one cell per column."""
        n = len(self.columns)
        for i, row in enumerate(self.rows):
            self._require(len(row) == n, f"row {i} has {len(row)} cells for {n} columns")

    @classmethod
    def of_records(cls, records: Iterable[Mapping[str, Any]], **fields: Any) -> Self:
        """A table of mappings; columns in order of first appearance, absent values ``None``."""
        rows = list(records)
        columns = tuple(dict.fromkeys(key for row in rows for key in row))
        return cls(columns, tuple(tuple(row.get(column) for column in columns) for row in rows), **fields)


_KINDS: dict[str, type[Figure]] = {
    cls.kind: cls for cls in (HeatMap, Lines, Scatter, Histogram, Graph, Images, MarkedText, Table)
}


def figure_from_json(data: Mapping[str, Any]) -> Figure:
    """The figure that ``Figure.to_json`` wrote, of whatever kind.

    Raises:
        CorruptError: If the kind is unknown, the version is newer than this program, or a field does not fit.
    """
    kind, version = str(data.get("kind")), data.get("v", 1)
    if not isinstance(version, int) or version > FIGURES_VERSION:
        raise CorruptError(f"a figure of version {version!r}, newer than {FIGURES_VERSION}", "update interp to read it")
    if kind not in _KINDS:
        near = near_names(kind, _KINDS)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(_KINDS)}"
        raise CorruptError(f"unknown figure kind {kind!r}", hint)
    return _KINDS[kind].from_json(data)
