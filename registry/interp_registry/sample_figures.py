"""One figure of every kind, small and always the same: for testing whatever draws figures."""

# pyright: reportArgumentType=false
# Figures take lists and arrays as well as the tuples that they keep.

import math

from interp_registry.figures import (
    Edge,
    Figure,
    Graph,
    HeatMap,
    Histogram,
    Images,
    Lines,
    MarkedText,
    Node,
    Picture,
    Reference,
    Scatter,
    Series,
    Table,
    TopToken,
)

__all__ = ["sample_figures"]


def sample_figures(text: str = "sample") -> list[Figure]:
    """A figure of every kind, in a fixed order, with ``text`` wherever a figure holds text.

    Args:
        text: Put something hostile here to see that a renderer escapes it.
    """
    return [
        _heat_map(text),
        _large_heat_map(text),
        _lines(text),
        _scatter(text),
        _histogram(text),
        _graph(text),
        _images(text),
        _marked_text(text),
        _table(text),
    ]


def _heat_map(text: str) -> HeatMap:
    values = [[0.050, 0.064, math.nan], [0.041, 0.086, 0.070]]
    return HeatMap(
        values,
        rows=(f"{text} row", "lm-m"),
        columns=(f"{text} column", "vit-s", "vit-m"),
        row_title=f"{text} rows",
        column_title="vision model",
        units=f"{text} units",
        marked=((1, 1),),
        hover=[[text, "", ""], ["", "two\nlines", ""]],
        title=f"{text}: heat map",
        caption=f"{text}: what it shows.",
    )


def _large_heat_map(text: str) -> HeatMap:
    values = [[math.sin(i * 0.4) * math.cos(j * 0.3) for j in range(26)] for i in range(25)]
    return HeatMap(
        values, center=0.0, units="difference", title=f"{text}: large heat map", row_order=tuple(range(24, -1, -1))
    )


def _lines(text: str) -> Lines:
    steps = range(1, 41)
    decay = [2.5 * math.exp(-step / 15) + 0.5 for step in steps]
    band = Series(f"{text} train", steps, decay, [y * 0.9 for y in decay], [y * 1.1 for y in decay])
    rough = Series("validation", (1, 20, 40), (3.0, math.nan, 0.8), dashed=True, markers=True)
    reference = Reference(0.5, f"{text} reference")
    return Lines((band, rough), x_title="step", y_title="loss (nats)", references=(reference,), title=f"{text}: lines")


def _scatter(text: str) -> Scatter:
    return Scatter(
        (2.3, 2.1, 1.9, 3.5, 3.4),
        (0.064, 0.070, 0.086, 0.030, 0.041),
        labels=(text, "lm-s", "lm-m", "lm-xs untrained", "lm-s untrained"),
        groups=(f"{text} group",) * 3 + ("untrained",) * 2,
        x_title="loss (nats per token)",
        y_title="alignment",
        regression=True,
        references=(Reference(0.011, "null"), Reference(2.0, "chance", "x")),
        title=f"{text}: scatter",
    )


def _histogram(text: str) -> Histogram:
    edges = tuple(0.008 + 0.0002 * i for i in range(13))
    counts = tuple(round(40 * math.exp(-((i - 5.5) ** 2) / 6)) for i in range(12))
    label = f"{text} observed"
    return Histogram(edges, counts, 0.0161, 0.0101, f"{text} null", label, title=f"{text}: histogram")


def _graph(text: str) -> Graph:
    nodes = (
        Node(f"{text} input", "input"),
        Node("head 0.3", "attention", 2.0),
        Node("mlp 2", "mlp", 3.0),
        Node("logits", "output"),
    )
    edges = (Edge(0, 1, 1.0), Edge(1, 2, 0.4, text), Edge(2, 3, 0.8), Edge(0, 3, -0.2))
    return Graph(nodes, edges, directed=True, title=f"{text}: graph")


def _images(text: str) -> Images:
    pictures = [
        Picture.of_array([[[i / 15, j / 15, k / 4] for j in range(16)] for i in range(16)], f"{text} picture {k}")
        for k in range(3)
    ]
    return Images(tuple(pictures), title=f"{text}: images")


def _marked_text(text: str) -> MarkedText:
    tokens = ("The", f" {text}", " jumps", "\n", " over")
    candidates = (TopToken(f" {text}", 0.9), TopToken(" fox", 0.05))
    return MarkedText(
        tokens, (0.5, 3.0, 1.2, math.nan, 0.1), (candidates,) * 5, "surprise (nats)", title=f"{text}: marked text"
    )


def _table(text: str) -> Table:
    rows = ((text, 0.0861234, 12, True), ("lm-s", math.nan, None, False), ("lm-xs", 0.05, 3, None))
    return Table((f"{text} model", "score", "layer", "trained"), rows, (f"{text} note",), title=f"{text}: table")
