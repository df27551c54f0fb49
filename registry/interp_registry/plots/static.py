"""Figures drawn by matplotlib, for PNG and SVG files and for notebooks. No global state: neither pyplot nor rcParams is touched."""

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from interp_registry.errors import UsageError
from interp_registry.figures import (
    Figure,
    Graph,
    HeatMap,
    Histogram,
    Images,
    Lines,
    MarkedText,
    Reference,
    Scatter,
    Table,
)
from interp_registry.plots.layout import node_positions
from interp_registry.plots.palette import LIGHT, Theme, ink_on
from interp_registry.plots.scale import cell_texts, number_text, scale_of
from interp_registry.regression import fit_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = ["can_draw", "draw", "draw_bytes"]

_MAX_LABEL = 32


def can_draw(figure: Figure) -> bool:
    """Whether the kind is drawn as a picture; tables are not."""
    return type(figure) in _DRAWERS


def draw(figure: Figure, theme: Theme = LIGHT) -> "Canvas":
    """A matplotlib figure of ``figure``.

    Raises:
        UsageError: If it is a table.
    """
    from matplotlib.figure import Figure as Canvas

    if isinstance(figure, Table):
        raise UsageError(f"table {figure.title!r} has no drawing", "use to_pandas() or the report")
    canvas = Canvas(figsize=_size(figure), dpi=150, layout="constrained", facecolor=theme.paper)
    if isinstance(figure, Images):
        _draw_images(canvas, figure, theme)
    else:
        axes = canvas.add_subplot()
        _style(axes, theme)
        _DRAWERS[type(figure)](axes, figure, theme)
    if figure.title:
        canvas.suptitle(_plain(figure.title), color=theme.ink, fontsize=11, fontweight="bold")
    return canvas


def draw_bytes(figure: Figure, file_format: Literal["png", "svg"] = "png", theme: Theme = LIGHT) -> bytes:
    """The bytes of a PNG or SVG file; the same figure gives the same bytes.

    Raises:
        UsageError: If it is a table.
    """
    import warnings

    import matplotlib as mpl

    buffer = io.BytesIO()
    metadata = {"Date": None} if file_format == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "interp", "svg.fonttype": "path"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # boxes for glyphs that the font lacks
        draw(figure, theme).savefig(buffer, format=file_format, metadata=metadata)
    return buffer.getvalue()


def _plain(text: str, length: int = 200) -> str:
    """``text`` shortened, and with the sign escaped that would switch matplotlib to formulas."""
    return (text if len(text) <= length else text[: length - 1] + "…").replace("$", r"\$")


def _size(figure: Figure) -> tuple[float, float]:
    if isinstance(figure, HeatMap):
        n_rows, n_columns = figure.shape
        cell = 0.55 if n_rows * n_columns <= 400 else 0.22
        return min(max(2.6 + cell * n_columns, 4.5), 14), min(max(1.8 + 0.75 * cell * n_rows, 3), 12)
    if isinstance(figure, Images):
        columns = _image_columns(figure)
        return 1.9 * columns + 0.2, 2.1 * math.ceil(max(len(figure.pictures), 1) / columns) + 0.4
    return 6.4, 4.0


def _style(axes: "Axes", theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.muted, labelsize=8, length=0)
    axes.grid(visible=True, color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _titles(axes: "Axes", x: str, y: str, theme: Theme) -> None:
    axes.set_xlabel(_plain(x), color=theme.ink, fontsize=9)
    axes.set_ylabel(_plain(y), color=theme.ink, fontsize=9)


def _legend(axes: "Axes", theme: Theme) -> None:
    axes.legend(frameon=False, fontsize=8, labelcolor=theme.ink)


def _draw_heat_map(axes: "Axes", figure: HeatMap, theme: Theme) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.patches import Rectangle

    figure, scale = figure.arranged(), scale_of(figure)
    stops = theme.diverging if scale.diverging else theme.sequential
    colours = LinearSegmentedColormap.from_list("scale", list(stops)).with_extremes(bad=theme.empty)
    norm = Normalize(scale.low, scale.high)
    axes.imshow(figure.values, cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    _label_axis(
        axes.set_xticks,
        figure.columns,
        {"rotation": 40, "ha": "right"} if max(map(len, figure.columns), default=0) > 4 else {},
    )
    _label_axis(axes.set_yticks, figure.rows, {})
    _titles(axes, figure.column_title, figure.row_title, theme)
    if figure.shape[0] * figure.shape[1] <= 400:
        for i, row in enumerate(cell_texts(figure)):
            for j, text in enumerate(row):
                ink = ink_on(scale.colour(figure.values[i][j], theme))
                axes.text(j, i, _plain(text, 12), ha="center", va="center", fontsize=7, color=ink)
    for i, j in figure.marked:
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=theme.mark, linewidth=2))
    bar = axes.figure.colorbar(ScalarMappable(norm, colours), ax=axes, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=theme.muted, labelsize=8, length=0)
    bar.set_label(_plain(figure.units), color=theme.ink, fontsize=9)


def _label_axis(setter: Callable[..., Any], labels: Sequence[str], style: dict[str, Any]) -> None:
    step = max(1, math.ceil(len(labels) / 40))
    setter(range(0, len(labels), step), [_plain(label, _MAX_LABEL) for label in labels[::step]], **style)


def _draw_references(axes: "Axes", references: Sequence[Reference], theme: Theme) -> None:
    for reference in references:
        line = axes.axhline if reference.axis == "y" else axes.axvline
        line(reference.value, color=theme.muted, linestyle=":", linewidth=1.2)
        place = (0.99, reference.value) if reference.axis == "y" else (reference.value, 0.99)
        transform = axes.get_yaxis_transform() if reference.axis == "y" else axes.get_xaxis_transform()
        axes.text(
            *place, _plain(reference.label), transform=transform, color=theme.muted, fontsize=8, ha="right", va="bottom"
        )


def _log_scales(axes: "Axes", x_log: bool, y_log: bool) -> None:
    if x_log:
        axes.set_xscale("log")
    if y_log:
        axes.set_yscale("log")


def _draw_lines(axes: "Axes", figure: Lines, theme: Theme) -> None:
    for i, series in enumerate(figure.series):
        colour = theme.series[i % len(theme.series)]
        if series.low:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.16, linewidth=0)
        style: dict[str, Any] = {
            "linestyle": "--" if series.dashed else "-",
            "marker": "o" if series.markers or len(series.x) == 1 else "",
        }
        axes.plot(
            series.x, series.y, color=colour, linewidth=1.6, markersize=3.5, label=_plain(series.name) or "_", **style
        )
    _log_scales(axes, figure.x_log, figure.y_log)
    _draw_references(axes, figure.references, theme)
    _titles(axes, figure.x_title, figure.y_title, theme)
    if len(figure.series) > 1:
        _legend(axes, theme)


def _draw_scatter(axes: "Axes", figure: Scatter, theme: Theme) -> None:
    groups = figure.groups or ("",) * len(figure.x)
    for i, group in enumerate(dict.fromkeys(groups)):
        points = [(x, y) for x, y, name in zip(figure.x, figure.y, groups, strict=True) if name == group]
        colour = theme.series[i % len(theme.series)]
        axes.scatter(
            *zip(*points, strict=True),
            s=26,
            color=colour,
            edgecolor=theme.paper,
            linewidth=0.7,
            label=_plain(group) or "_",
            zorder=3,
        )
    _log_scales(axes, figure.x_log, figure.y_log)
    for x, y, label in zip(figure.x, figure.y, figure.labels, strict=False) if len(figure.x) <= 40 else ():
        axes.annotate(
            _plain(label, _MAX_LABEL), (x, y), (4, 4), textcoords="offset points", fontsize=7, color=theme.muted
        )
    if figure.regression:
        _draw_regression(axes, figure, theme)
    if figure.equal_axes:
        axes.set_aspect("equal", adjustable="datalim")
    _draw_references(axes, figure.references, theme)
    _titles(axes, figure.x_title, figure.y_title, theme)
    if len(set(groups)) > 1:
        _legend(axes, theme)


def _draw_regression(axes: "Axes", figure: Scatter, theme: Theme) -> None:
    found = fit_line(figure.x, figure.y, figure.x_log, figure.y_log)
    axes.set_title(found.sentence, fontsize=8, color=theme.muted, loc="right")
    if math.isnan(found.slope):
        return
    usable = [x for x in figure.x if math.isfinite(x) and (x > 0 or not figure.x_log)]
    ends = [min(usable), max(usable)]
    at = [found.slope * (math.log10(x) if figure.x_log else x) + found.intercept for x in ends]
    axes.plot(ends, [10**value if figure.y_log else value for value in at], "--", color=theme.muted, linewidth=1.2)


def _draw_histogram(axes: "Axes", figure: Histogram, theme: Theme) -> None:
    widths = [high - low for low, high in zip(figure.edges, figure.edges[1:], strict=False)]
    axes.bar(figure.edges[:-1], figure.counts, widths, align="edge", color=theme.series[0], alpha=0.8, linewidth=0)
    marks = (
        (figure.observed, figure.observed_label, theme.mark, "-"),
        (figure.threshold, figure.threshold_label, theme.muted, "--"),
    )
    for value, label, colour, style in marks:
        if value is not None and math.isfinite(value):
            axes.axvline(
                value, color=colour, linestyle=style, linewidth=1.6, label=_plain(f"{label}: {number_text(value)}")
            )
    _titles(axes, figure.x_title, "count", theme)
    if figure.observed is not None or figure.threshold is not None:
        _legend(axes, theme)


def _draw_graph(axes: "Axes", figure: Graph, theme: Theme) -> None:
    places = node_positions(figure)
    axes.set_axis_off()
    axes.margins(0.15)
    heaviest = max((abs(edge.weight) for edge in figure.edges), default=0.0) or 1.0
    largest = max((node.size for node in figure.nodes), default=1.0) or 1.0
    names = list(dict.fromkeys(node.group for node in figure.nodes))
    for edge in figure.edges:
        width = 0.5 + 2.5 * abs(edge.weight) / heaviest
        arrow = {
            "arrowstyle": "-|>" if figure.directed else "-",
            "color": theme.muted,
            "linewidth": width,
            "alpha": 0.7,
        }
        axes.annotate("", places[edge.target], places[edge.source], arrowprops={**arrow, "shrinkA": 7, "shrinkB": 7})
    for node, (x, y) in zip(figure.nodes, places, strict=True):
        colour = theme.series[names.index(node.group) % len(theme.series)]
        axes.scatter(
            [x], [y], s=40 + 160 * max(node.size, 0.0) / largest, color=colour, zorder=3, edgecolor=theme.paper
        )
        axes.annotate(
            _plain(node.label, _MAX_LABEL),
            (x, y),
            (0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=theme.ink,
        )


def _image_columns(figure: Images) -> int:
    return figure.columns or min(max(len(figure.pictures), 1), 6)


def _draw_images(canvas: "Canvas", figure: Images, theme: Theme) -> None:
    import numpy as np
    from PIL import Image

    columns = _image_columns(figure)
    for i, picture in enumerate(figure.pictures):
        axes = canvas.add_subplot(math.ceil(len(figure.pictures) / columns), columns, i + 1)
        axes.set_axis_off()
        axes.imshow(np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGBA")))
        axes.set_title(_plain(picture.caption, _MAX_LABEL), fontsize=7, color=theme.muted)


def _draw_marked_text(axes: "Axes", figure: MarkedText, theme: Theme) -> None:
    """Tokens in lines of about 72 characters, in a fixed-width font."""
    axes.set_axis_off()
    scale, line, column = scale_of(figure), 0, 0
    for token, value in zip(figure.tokens, figure.values, strict=True):
        shown = token.replace("\n", "↵")[:72]
        if column + len(shown) > 72:
            line, column = line + 1, 0
        back = theme.paper if math.isnan(value) else scale.colour(value, theme)
        box = {"facecolor": back, "edgecolor": "none", "pad": 1.2}
        axes.text(column, -line, _plain(shown), family="monospace", fontsize=7.5, color=ink_on(back), bbox=box)
        column += len(shown)
    axes.set_xlim(0, 74)
    axes.set_ylim(-max(line + 1, 8), 1)


_DRAWERS: dict[type[Figure], Callable[["Axes", Any, Theme], None]] = {
    HeatMap: _draw_heat_map,
    Lines: _draw_lines,
    Scatter: _draw_scatter,
    Histogram: _draw_histogram,
    Graph: _draw_graph,
    MarkedText: _draw_marked_text,
    Images: lambda _axes, _figure, _theme: None,
}
