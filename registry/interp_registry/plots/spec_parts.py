"""What all Plotly specifications are made of: escaped text, numbers that JSON can hold, axes, a common layout."""

import html
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

__all__ = ["LABEL_LENGTH", "Spec", "finite_number", "finite_numbers", "plot_axis", "plot_layout", "plot_text"]

Spec: TypeAlias = dict[str, Any]
"""A Plotly specification or a part of one."""

LABEL_LENGTH = 40
"""Longer labels of points and ticks are cut."""


def plot_text(value: str, length: int | None = None) -> str:
    """``value`` with HTML escaped, cut to ``length`` characters."""
    if length is not None and len(value) > length:
        value = value[: length - 1] + "…"
    return html.escape(value, quote=False)


def finite_number(value: float) -> float | None:
    """``value``, or ``None`` when JSON has no word for it."""
    return value if math.isfinite(value) else None


def finite_numbers(values: Sequence[float]) -> list[float | None]:
    """``values`` with ``None`` for those that JSON has no word for."""
    return [finite_number(value) for value in values]


def plot_axis(title: str, log: bool = False) -> Spec:
    """An axis with its title."""
    return {
        "title": {"text": plot_text(title), "standoff": 10, "font": {"color": "@muted", "size": 12.5}},
        "tickfont": {"color": "@ink", "size": 12},
        "type": "log" if log else "linear",
        **({"exponentformat": "power"} if log else {}),
        "automargin": True,
        "gridcolor": "@grid",
        "linecolor": "@grid",
        "zeroline": False,
        "ticks": "",
    }


def plot_layout(x: Spec, y: Spec, **fields: Any) -> Spec:
    """The layout that all plots share, with what differs."""
    return {
        "xaxis": x,
        "yaxis": y,
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "@ink", "size": 13},
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@muted", "font": {"color": "@ink"}, "align": "left"},
        "legend": {
            "traceorder": "normal",
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 0,
            "font": {"color": "@ink"},
        },
        "height": 380,
        **fields,
    }
