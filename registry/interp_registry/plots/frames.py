"""Figures as pandas data frames."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from interp_registry.figures import Graph, HeatMap, Histogram, Images, Lines, MarkedText, Scatter, Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["figure_frame"]


def _heat_map(figure: HeatMap) -> dict[str, Any]:
    n_rows, n_columns = figure.shape
    index, columns = figure.rows or tuple(range(n_rows)), figure.columns or tuple(range(n_columns))
    return {"data": figure.values, "index": list(index), "columns": list(columns)}


def _lines(figure: Lines) -> dict[str, Any]:
    rows: list[tuple[Any, ...]] = []
    for series in figure.series:
        empty = (None,) * len(series.x)
        points = zip(series.x, series.y, series.low or empty, series.high or empty, strict=True)
        rows += [(series.name, *point) for point in points]
    return {"data": rows, "columns": ["series", "x", "y", "low", "high"]}


def _scatter(figure: Scatter) -> dict[str, Any]:
    empty = ("",) * len(figure.x)
    rows = list(zip(figure.x, figure.y, figure.labels or empty, figure.groups or empty, strict=True))
    return {"data": rows, "columns": ["x", "y", "label", "group"]}


def _histogram(figure: Histogram) -> dict[str, Any]:
    return {
        "data": list(zip(figure.edges, figure.edges[1:], figure.counts, strict=False)),
        "columns": ["low", "high", "count"],
    }


def _graph(figure: Graph) -> dict[str, Any]:
    rows = [(figure.nodes[e.source].label, figure.nodes[e.target].label, e.weight, e.label) for e in figure.edges]
    return {"data": rows, "columns": ["source", "target", "weight", "label"]}


def _images(figure: Images) -> dict[str, Any]:
    return {"data": [dataclasses.astuple(picture)[::-1] for picture in figure.pictures], "columns": ["caption", "png"]}


def _marked_text(figure: MarkedText) -> dict[str, Any]:
    return {"data": list(zip(figure.tokens, figure.values, strict=True)), "columns": ["token", "value"]}


def _table(figure: Table) -> dict[str, Any]:
    return {"data": list(figure.rows), "columns": list(figure.columns)}


_FRAMES: dict[type, Callable[[Any], dict[str, Any]]] = {
    HeatMap: _heat_map,
    Lines: _lines,
    Scatter: _scatter,
    Histogram: _histogram,
    Graph: _graph,
    Images: _images,
    MarkedText: _marked_text,
    Table: _table,
}


def figure_frame(figure: Any) -> "pd.DataFrame":
    """The numbers of a figure as a data frame; see ``Figure.to_pandas``."""
    import pandas as pd

    return pd.DataFrame(**_FRAMES[type(figure)](figure))
