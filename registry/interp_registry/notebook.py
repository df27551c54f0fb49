"""How figures, tables and results show themselves in a notebook, and how far a call is."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NotebookView", "in_notebook", "notebook_progress"]

_FIRST_SECONDS = 1.0
_SECONDS = 0.25


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def notebook_progress(task: str, total: float, unit: str = "") -> Callable[[float], None]:
    """A progress bar in the cell that runs; outside of notebooks it does nothing.

    It appears after a second, is redrawn at most four times a second, and is emptied when all is done.

    Args:
        task: What is being done.
        total: How many units there are.
        unit: What is counted.

    Returns:
        What to call with the number of units done.
    """
    if not in_notebook():
        return lambda _: None
    return _Bar(task, total, unit)


class _Bar:
    def __init__(self, task: str, total: float, unit: str) -> None:
        self.task, self.total, self.unit = task, total, unit
        self.began = time.monotonic()
        self.drawn = self.began + _FIRST_SECONDS - _SECONDS
        self.handle: Any = None

    def __call__(self, done: float) -> None:
        now = time.monotonic()
        if (done < self.total and now - self.drawn < _SECONDS) or (done >= self.total and self.handle is None):
            return
        from IPython.display import HTML, display

        self.drawn = now
        shown = HTML("" if done >= self.total else self._html(done, now))
        if self.handle is None:
            self.handle = display(shown, display_id=True)
        else:
            self.handle.update(shown)

    def _html(self, done: float, now: float) -> str:
        import html

        left = (now - self.began) * (self.total - done) / done if done else 0.0
        words = f"{self.task} {done:g}/{self.total:g} {self.unit}" + (f", about {left:.0f} s left" if done else "")
        bar = f'<progress value="{done:g}" max="{self.total:g}" style="width:20em"></progress>'
        return f"<div>{bar} {html.escape(words)}</div>"


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
