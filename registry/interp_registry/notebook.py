"""How figures, tables and results show themselves in a notebook."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NotebookView"]


class NotebookView:
    """Gives a Figure ``_repr_html_()`` (needs no network), ``plot()`` (interactive) and ``to_pandas()``."""

    def _repr_html_(self: Any) -> str:
        """A static HTML fragment: a table as a table, every other figure as an inline picture with its caption."""
        from interp_registry.plots.notebook import figure_html

        return figure_html(self)  # pyright: ignore[reportArgumentType] - only figures derive from this

    def plot(self: Any) -> Any:
        """An interactive ``plotly.graph_objects.Figure`` of this figure.

        Raises:
            UsageError: If this kind is text, pictures or a table, which :meth:`_repr_html_` shows.
        """
        from interp_registry.plots.notebook import plotly_figure

        return plotly_figure(self)  # pyright: ignore[reportArgumentType]

    def to_pandas(self) -> "pd.DataFrame":
        """The numbers of this figure as a data frame.

        Heat map: rows x columns. Lines: one row per point (series, x, y, low, high). Scatter: x, y, label, group.
        Histogram: low edge, high edge, count. Graph: one row per edge. Marked text: token, value. Table: itself.
        """
        from interp_registry.plots.frames import figure_frame

        return figure_frame(self)
