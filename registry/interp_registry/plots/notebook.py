"""What notebooks show of a figure: a static fragment that needs no network, and an interactive Plotly figure."""

import base64
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interp_registry.errors import UsageError
from interp_registry.figures import Figure, Scatter, Table
from interp_registry.plots.interactive import is_plot, plot_spec, themed
from interp_registry.plots.palette import LIGHT
from interp_registry.plots.scale import number_text
from interp_registry.plots.static import draw_bytes
from interp_registry.regression import fit_line

if TYPE_CHECKING:
    from interp_registry.contracts.method import Result

__all__ = ["figure_html", "first_plot", "plotly_figure", "regression_sentence", "result_html", "table_html"]

_SHOWN_FIGURES = 8


def figure_html(figure: Figure) -> str:
    """A table as an HTML table, anything else as an inline PNG, with its caption; all text escaped."""
    if isinstance(figure, Table):
        return table_html(figure)
    picture = base64.b64encode(draw_bytes(figure)).decode("ascii")
    caption = f"<figcaption>{html.escape(figure.caption)}</figcaption>" if figure.caption else ""
    image = f'<img alt="{html.escape(figure.title)}" style="max-width:100%" src="data:image/png;base64,{picture}">'
    return f"<figure>{image}{caption}</figure>"


def regression_sentence(figure: Figure) -> str:
    """The correlations of a scatter plot with a regression line; empty for any other figure."""
    if not (isinstance(figure, Scatter) and figure.regression):
        return ""
    return fit_line(figure.x, figure.y, figure.x_log, figure.y_log).sentence


def table_html(table: Table) -> str:
    """A plain HTML table, all text escaped."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    body = "".join("<tr>" + "".join(_cell(cell, table.digits) for cell in row) + "</tr>" for row in table.rows)
    notes = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in table.notes)
    title = f"<caption>{html.escape(table.title)}</caption>" if table.title else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _cell(cell: str | float | bool | None, digits: int) -> str:
    return f"<td>{html.escape(cell if isinstance(cell, str) else number_text(cell, digits))}</td>"


def plotly_figure(figure: Figure) -> Any:
    """An interactive ``plotly.graph_objects.Figure``.

    Raises:
        UsageError: If the kind has no axes (images, marked text, tables).
    """
    if not is_plot(figure):
        raise UsageError(f"a {figure.kind} has no axes to plot", "show the object itself, or use to_pandas()")
    import plotly.graph_objects as go

    spec = themed(plot_spec(figure), LIGHT)
    title = "<br>".join(html.escape(line) for line in (figure.title, regression_sentence(figure)) if line)
    layout = {"template": "none", **spec["layout"], "title": {"text": title}, "margin": {"t": 80}}
    return go.Figure(data=spec["data"], layout=layout)


def first_plot(figures: Sequence[Figure]) -> Any:
    """The first of ``figures`` that has axes, as an interactive figure.

    Raises:
        UsageError: None has.
    """
    for figure in figures:
        if is_plot(figure):
            return plotly_figure(figure)
    raise UsageError("the result has no figure with axes", "show the object itself, or use to_pandas()")


def result_html(result: "Result") -> str:
    """Numbers, tables and at most eight figures of a result; all text escaped."""
    rows = tuple((name, value) for name, value in result.scalars.items())
    numbers = [table_html(Table(("", ""), rows))] if rows else []
    shown = [figure_html(figure) for figure in (*result.tables, *result.figures[:_SHOWN_FIGURES])]
    rest = len(result.figures) - _SHOWN_FIGURES
    return "\n".join([*numbers, *shown, *([f"<p>and {rest} more figures</p>"] if rest > 0 else [])])
