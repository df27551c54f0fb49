"""Graphs as Plotly specifications."""

import math

from interp_registry.figures import Graph
from interp_registry.plots.layout import node_positions
from interp_registry.plots.spec_parts import LABEL_LENGTH, Spec, plot_layout, plot_text

__all__ = ["graph_spec"]


def _edge_traces(figure: Graph, places: list[tuple[float, float]]) -> list[Spec]:
    """Edges in up to five traces, one for each class of width."""
    heaviest = max((abs(edge.weight) for edge in figure.edges), default=0.0) or 1.0
    classes: dict[int, list[int]] = {}
    for k, edge in enumerate(figure.edges):
        classes.setdefault(min(int(abs(edge.weight) / heaviest * 5), 4), []).append(k)
    traces: list[Spec] = []
    for width, members in sorted(classes.items()):
        x: list[float | None] = []
        y: list[float | None] = []
        for k in members:
            (x0, y0), (x1, y1) = places[figure.edges[k].source], places[figure.edges[k].target]
            x += [x0, x1, None]
            y += [y0, y1, None]
        line = {"color": "@muted", "width": 0.6 + 0.9 * width}
        traces.append(
            {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line, "hoverinfo": "skip", "opacity": 0.6}
        )
    return traces


def _arrows(figure: Graph, places: list[tuple[float, float]]) -> list[Spec]:
    notes: list[Spec] = []
    for edge in figure.edges[:400] if figure.directed else ():
        (x0, y0), (x1, y1) = places[edge.source], places[edge.target]
        tail: Spec = {"ax": (x0 + x1) / 2, "ay": (y0 + y1) / 2, "axref": "x", "ayref": "y", "text": ""}
        head: Spec = {
            "x": x1,
            "y": y1,
            "showarrow": True,
            "arrowhead": 2,
            "standoff": 10,
            "arrowcolor": "@muted",
            "arrowwidth": 1,
        }
        notes.append({**tail, **head})
    return notes


def graph_spec(figure: Graph) -> Spec:
    """Nodes as points and edges as lines in up to five widths, with arrow heads when the graph is directed."""
    places = node_positions(figure)
    traces = _edge_traces(figure, places)
    names = list(dict.fromkeys(node.group for node in figure.nodes))
    largest = max((node.size for node in figure.nodes), default=1.0) or 1.0
    for i, name in enumerate(names):
        members = [k for k, node in enumerate(figure.nodes) if node.group == name]
        sizes = [8 + 14 * math.sqrt(max(figure.nodes[k].size, 0.0) / largest) for k in members]
        texts = [plot_text(figure.nodes[k].label, LABEL_LENGTH) for k in members]
        trace: Spec = {
            "type": "scatter",
            "mode": "markers+text" if len(figure.nodes) <= 60 else "markers",
            "name": plot_text(name),
        }
        trace |= {
            "x": [places[k][0] for k in members],
            "y": [places[k][1] for k in members],
            "text": texts,
            "hoverinfo": "text",
        }
        trace |= {"marker": {"color": f"@series{i}", "size": sizes, "line": {"color": "@paper", "width": 1}}}
        traces.append(
            {**trace, "textposition": "top center", "textfont": {"color": "@ink", "size": 12}, "cliponaxis": False}
        )
    hidden = {"visible": False, "automargin": True}
    for trace in traces[: len(traces) - len(names)]:
        trace["showlegend"] = False
    layout = plot_layout(hidden, hidden, hovermode="closest", height=460, annotations=_arrows(figure, places))
    return {"data": traces, "layout": {**layout, "showlegend": len(names) > 1}}
