"""Figures as Plotly specifications: plain dicts with ``data`` and ``layout``, made without importing Plotly.

Colours are written as roles (``@ink``, ``@series2``, ``@series2~0.5`` for half its opacity, ``@sequential``,
``@on-sequential~0.7`` for what reads best on a place of a scale) that :func:`themed` replaces; the report's page does
the same in the browser when the reader switches between light and dark. Every text is escaped, because Plotly reads
HTML tags in labels.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from interp_registry.figures import Figure, Graph, HeatMap, Histogram, Lines, Reference, Scatter, Series
from interp_registry.plots.interactive_graph import graph_spec
from interp_registry.plots.palette import Theme, colour_at, ink_on
from interp_registry.plots.scale import ColourScale, cell_texts, number_text, scale_of
from interp_registry.plots.spec_parts import (
    LABEL_LENGTH,
    Spec,
    finite_numbers,
    plot_axis,
    plot_layout,
    plot_text,
)
from interp_registry.regression import fit_line

__all__ = ["is_plot", "plot_spec", "themed"]

_MAX_TEXT_CELLS = 400
_MAX_HOVER_CELLS = 10_000
_ROOM_FOR_CELLS = 1130
"""Characters in a row of cells times the size of their font that fill the page's width: a character is 0.6 sizes wide."""


def is_plot(figure: Figure) -> bool:
    """Whether the kind has axes; images, texts and tables have none."""
    return type(figure) in _BUILDERS


def plot_spec(figure: Figure) -> Spec:
    """The Plotly specification of a figure that :func:`is_plot`, with colours as roles."""
    return _BUILDERS[type(figure)](figure)


def themed(spec: Any, theme: Theme) -> Any:
    """A copy of ``spec`` with colour roles replaced by ``theme``'s colours, wherever a key speaks of colour."""
    return _themed(spec, theme, in_colour=False)


def _themed(spec: Any, theme: Theme, in_colour: bool) -> Any:
    if isinstance(spec, dict):
        return {key: _themed(value, theme, "color" in key) for key, value in spec.items()}
    if isinstance(spec, list):
        return [_themed(value, theme, in_colour) for value in spec]
    if in_colour and isinstance(spec, str) and spec.startswith("@"):
        return _role(spec[1:], theme)
    return spec


def _role(role: str, theme: Theme) -> Any:
    role, _, number = role.partition("~")
    if role.startswith("on-"):
        return ink_on(colour_at(getattr(theme, role.removeprefix("on-")), float(number)))
    if role.startswith("series"):
        colour = theme.series[int(role.removeprefix("series")) % len(theme.series)]
        channels = ",".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
        return f"rgba({channels},{number})" if number else colour
    colours = getattr(theme, role)
    return (
        colours if isinstance(colours, str) else [[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)]
    )


def _label_axis(labels: Sequence[str], title: str) -> Spec:
    is_short = max(map(len, labels), default=0) <= (12 if len(labels) <= 5 else 8)
    ticks = {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": [plot_text(t, LABEL_LENGTH) for t in labels],
    }
    if len(labels) > 30 and all(label.isdigit() for label in labels):
        step = math.ceil(len(labels) / 15)
        ticks = {key: value[::step] if isinstance(value, list) else value for key, value in ticks.items()}
    return {**plot_axis(title), **ticks, "showgrid": False, "showline": False, "tickangle": 0 if is_short else -35}


def _hovers(figure: HeatMap) -> Spec:
    """What is shown of a cell that is pointed at; in very large maps only its place and number."""
    if figure.shape[0] * figure.shape[1] > _MAX_HOVER_CELLS:
        return {"hoverinfo": "x+y+z"}
    return {"hovertext": _cell_hovers(figure), "hoverinfo": "text"}


def _cell_hovers(figure: HeatMap) -> list[list[str]]:
    row_word, column_word = figure.row_title or "row", figure.column_title or "column"
    hovers: list[list[str]] = []
    for i, row in enumerate(figure.values):
        hovers.append([])
        for j, value in enumerate(row):
            shown = [f"{row_word}: {figure.rows[i]}", f"{column_word}: {figure.columns[j]}"]
            shown.append(f"{figure.units or 'value'}: {number_text(value, 5)}")
            shown += figure.annotations[i][j : j + 1] if figure.annotations else ()
            shown += figure.hover[i][j].split("\n") if figure.hover and figure.hover[i][j] else ()
            hovers[-1].append("<br>".join(plot_text(line) for line in shown))
    return hovers


def _heat_map(figure: HeatMap) -> Spec:
    figure, scale = figure.arranged(), scale_of(figure)
    n_rows, n_columns = figure.shape
    few = n_rows * n_columns <= _MAX_TEXT_CELLS
    trace: Spec = {
        "type": "heatmap",
        "z": [finite_numbers(row) for row in figure.values],
        "zmin": scale.low,
        "zmax": scale.high,
        "colorscale": "@diverging" if scale.diverging else "@sequential",
        **_hovers(figure),
        "hoverongaps": False,
        "xgap": 2 if few else 0,
        "ygap": 2 if few else 0,
        "colorbar": {
            "title": {"text": plot_text(figure.units), "side": "right", "font": {"color": "@muted", "size": 12}},
            "tickfont": {"color": "@muted", "size": 11},
            "thickness": 10,
            "outlinewidth": 0,
            "tickcolor": "@muted",
        },
    }
    shapes = [
        {
            "type": "rect",
            "x0": j - 0.47,
            "x1": j + 0.47,
            "y0": i - 0.47,
            "y1": i + 0.47,
            "line": {"color": "@mark", "width": 2.5},
        }
        for i, j in figure.marked
    ]
    y = {**_label_axis(figure.rows, figure.row_title), "tickangle": 0, "range": [n_rows - 0.5, -0.5]}
    x = {**_label_axis(figure.columns, figure.column_title), "range": [-0.5, n_columns - 0.5]}
    height = min(max(150 + 34 * n_rows, 260), 720) if few else min(max(150 + 14 * n_rows, 380), 760)
    return {
        "data": [trace, *([_cell_trace(figure, scale)] if few else ())],
        "layout": plot_layout(x, y, shapes=shapes, height=height),
    }


def _cell_trace(figure: HeatMap, scale: ColourScale) -> Spec:
    """The texts in the cells, each in the ink that reads best on its cell."""
    kind, (n_rows, n_columns) = "diverging" if scale.diverging else "sequential", figure.shape
    shares = [scale.share(value) for row in figure.values for value in row]
    texts = [plot_text(text, 14) for row in cell_texts(figure) for text in row]
    size = min(11.5, max(7, _ROOM_FOR_CELLS / (n_columns * max(map(len, texts), default=1))))
    return {
        "type": "scatter",
        "mode": "text",
        "x": [j for _ in range(n_rows) for j in range(n_columns)],
        "y": [i for i in range(n_rows) for _ in range(n_columns)],
        "text": texts,
        "textfont": {"size": size, "color": ["@ink" if math.isnan(s) else f"@on-{kind}~{s:.3f}" for s in shares]},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _references(references: Sequence[Reference]) -> Spec:
    shapes: list[Spec] = []
    notes: list[Spec] = []
    for reference in references:
        along, across = ("x", "y") if reference.axis == "y" else ("y", "x")
        line = {"color": "@muted", "width": 1.5, "dash": "dot"}
        place: Spec = {f"{across}0": reference.value, f"{across}1": reference.value, f"{along}0": 0, f"{along}1": 1}
        shapes.append({"type": "line", f"{along}ref": "paper", **place, "line": line})
        anchors = (
            {"xanchor": "right", "yanchor": "bottom"}
            if reference.axis == "y"
            else {"xanchor": "left", "yanchor": "top"}
        )
        note: Spec = {across: reference.value, along: 1, f"{along}ref": "paper", "showarrow": False, **anchors}
        notes.append({**note, "text": plot_text(reference.label), "font": {"color": "@muted", "size": 12}})
    return {"shapes": shapes, "annotations": notes}


def _band(series: Series, colour: str) -> list[Spec]:
    edge = {"mode": "lines", "line": {"width": 0, "color": colour}, "hoverinfo": "skip", "showlegend": False}
    x = finite_numbers(series.x)
    return [
        {"type": "scatter", "x": x, "y": finite_numbers(series.low), **edge},
        {
            "type": "scatter",
            "x": x,
            "y": finite_numbers(series.high),
            **edge,
            "fill": "tonexty",
            "fillcolor": f"{colour}~0.16",
        },
    ]


def _lines(figure: Lines) -> Spec:
    traces: list[Spec] = []
    for i, series in enumerate(figure.series):
        colour = f"@series{i}"
        traces += _band(series, colour) if series.low else []
        line = {"color": colour, "width": 2, "dash": "dash" if series.dashed else "solid"}
        mode = "lines+markers" if series.markers or len(series.x) == 1 else "lines"
        points = {"x": finite_numbers(series.x), "y": finite_numbers(series.y)}
        traces.append({"type": "scatter", "mode": mode, "name": plot_text(series.name), **points, "line": line})
    layout = plot_layout(
        plot_axis(figure.x_title, figure.x_log), plot_axis(figure.y_title, figure.y_log), hovermode="x unified"
    )
    return {
        "data": traces,
        "layout": {**layout, **_references(figure.references), "showlegend": len(figure.series) > 1},
    }


def _regression_trace(figure: Scatter) -> list[Spec]:
    found = fit_line(figure.x, figure.y, figure.x_log, figure.y_log)
    if math.isnan(found.slope):
        return []
    low, high = _ends(figure.x, figure.x_log)
    x = [10**end if figure.x_log else end for end in (low, high)]
    at = [found.slope * end + found.intercept for end in (low, high)]
    y = [10**value if figure.y_log else value for value in at]
    line = {"color": "@muted", "width": 1.5, "dash": "dash"}
    return [
        {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line, "hoverinfo": "skip", "showlegend": False}
    ]


def _label_places(figure: Scatter, members: Sequence[int]) -> list[str]:
    """Labels lean towards the middle of the plot, so that none is cut off at its sides."""
    shares = ColourScale(*_ends(figure.x, figure.x_log))
    leans = [shares.share(math.log10(x) if figure.x_log and x > 0 else x) for x in (figure.x[k] for k in members)]
    return ["top right" if lean < 1 / 3 else "top left" if lean > 2 / 3 else "top center" for lean in leans]


def _ends(values: Sequence[float], log: bool) -> tuple[float, float]:
    usable = [math.log10(v) if log else v for v in values if math.isfinite(v) and (v > 0 or not log)] or [0.0]
    return min(usable), max(usable)


def _scatter(figure: Scatter) -> Spec:
    groups = figure.groups or ("",) * len(figure.x)
    traces: list[Spec] = []
    for i, group in enumerate(dict.fromkeys(groups)):
        members = [k for k, name in enumerate(groups) if name == group]
        trace: Spec = {
            "type": "scatter",
            "mode": "markers+text" if figure.labels and len(figure.x) <= 40 else "markers",
            "name": plot_text(group),
            "x": finite_numbers([figure.x[k] for k in members]),
            "y": finite_numbers([figure.y[k] for k in members]),
            "marker": {"color": f"@series{i}", "size": 9, "line": {"color": "@paper", "width": 1}},
            "textposition": _label_places(figure, members),
            "textfont": {"color": "@muted", "size": 11},
            "cliponaxis": False,
        }
        trace |= {"text": [plot_text(figure.labels[k], LABEL_LENGTH) for k in members]} if figure.labels else {}
        traces.append(trace)
    layout = plot_layout(
        plot_axis(figure.x_title, figure.x_log),
        plot_axis(figure.y_title, figure.y_log),
        hovermode="closest",
        height=420,
    )
    layout |= _references(figure.references)
    if figure.regression:
        traces = _regression_trace(figure) + traces
    if figure.equal_axes:
        layout["yaxis"] = {**layout["yaxis"], "scaleanchor": "x", "scaleratio": 1}
    return {"data": traces, "layout": {**layout, "showlegend": len(set(groups)) > 1}}


def _histogram(figure: Histogram) -> Spec:
    pairs = list(zip(figure.edges, figure.edges[1:], strict=False))
    bars = {
        "type": "bar",
        "x": [(low + high) / 2 for low, high in pairs],
        "y": finite_numbers(figure.counts),
        "width": [0.94 * (high - low) for low, high in pairs],
        "marker": {"color": "@series0", "opacity": 0.8, "line": {"width": 0}},
        "hovertext": [f"{number_text(low)} to {number_text(high)}" for low, high in pairs],
        "hovertemplate": "%{hovertext}: %{y}<extra></extra>",
    }
    marks = [
        (figure.observed, figure.observed_label, "@mark", 1.0),
        (figure.threshold, figure.threshold_label, "@muted", 0.9),
    ]
    layout = plot_layout(plot_axis(figure.x_title), plot_axis("count"), bargap=0, shapes=[], annotations=[])
    for value, label, colour, height in marks:
        if value is None or not math.isfinite(value):
            continue
        line = {"color": colour, "width": 2, "dash": "solid" if colour == "@mark" else "dash"}
        layout["shapes"].append(
            {"type": "line", "yref": "paper", "x0": value, "x1": value, "y0": 0, "y1": 1, "line": line}
        )
        text = plot_text(f"{label}: {number_text(value)}")
        note: Spec = {
            "x": value,
            "y": height,
            "yref": "paper",
            "xanchor": "left",
            "xshift": 4,
            "showarrow": False,
            "text": text,
        }
        layout["annotations"].append({**note, "font": {"color": colour, "size": 12}})
    return {"data": [bars], "layout": layout}


_BUILDERS: dict[type[Figure], Callable[[Any], Spec]] = {
    HeatMap: _heat_map,
    Lines: _lines,
    Scatter: _scatter,
    Histogram: _histogram,
    Graph: graph_spec,
}
