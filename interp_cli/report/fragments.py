"""Parts of the page that are not plots: tables, marked text, pictures. All text is escaped here, once."""

import base64
import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from interp_registry.figures import Cell, Images, MarkedText, Table
from interp_registry.plots.palette import DARK, LIGHT, ink_on
from interp_registry.plots.scale import ColourScale, number_text, scale_of

__all__ = ["images_html", "marked_text_html", "table_html"]


_NAME_LENGTH = 32
"""Texts up to this length are names, which are never broken into lines."""


def _cell_html(cell: Cell, digits: int) -> Markup:
    if isinstance(cell, str):
        return Markup("<td{}>{}</td>").format(Markup(' class="name"') if len(cell) <= _NAME_LENGTH else "", cell)
    if cell is None:
        return Markup('<td class="none"></td>')
    if isinstance(cell, bool):
        return Markup('<td data-v="{}">{}</td>').format(int(cell), "yes" if cell else "no")
    sort_key = "" if math.isnan(cell) else repr(float(cell))
    return Markup('<td class="num" data-v="{}" title="{}">{}</td>').format(
        sort_key, repr(cell), number_text(cell, digits)
    )


def _is_numeric(table: Table, column: int) -> bool:
    cells = [row[column] for row in table.rows if row[column] is not None]
    return bool(cells) and all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in cells)


def table_html(table: Table) -> Markup:
    """A table whose columns sort when their heads are pressed; a filter stands above long ones."""
    head = Markup("").join(
        Markup(
            '<th scope="col"{}><button type="button">{}<span class="arrow" aria-hidden="true"></span></button></th>'
        ).format(Markup(' class="num"') if _is_numeric(table, i) else "", column)
        for i, column in enumerate(table.columns)
    )
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(Markup("").join(_cell_html(cell, table.digits) for cell in row))
        for row in table.rows
    )
    label = escape(table.title or "table")
    search = Markup('<input class="filter" type="search" placeholder="Filter {} rows" aria-label="Filter {}">').format(
        len(table.rows), label
    )
    notes = Markup("").join(Markup("<p>{}</p>").format(note) for note in table.notes)
    return Markup(
        '{}<div class="scroll" tabindex="0" role="region" aria-label="{}"><table class="data">'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>{}"
    ).format(
        search if len(table.rows) > 15 else "",
        label,
        head,
        body,
        Markup('<div class="notes">{}</div>').format(notes) if notes else "",
    )


def images_html(figure: Images) -> Markup:
    """Pictures as data addresses, in a grid."""
    style = Markup(' style="--columns:{}"').format(figure.columns) if figure.columns else ""
    items = Markup("").join(
        Markup('<figure><img alt="{}" src="data:image/png;base64,{}"><figcaption>{}</figcaption></figure>').format(
            picture.caption, base64.b64encode(picture.png).decode("ascii"), picture.caption
        )
        for picture in figure.pictures
    )
    return Markup('<div class="pictures{}"{}>{}</div>').format(" fixed" if figure.columns else "", style, items)


def _token_style(value: float, scale: ColourScale) -> Markup:
    if math.isnan(value):
        return Markup("")
    light, dark = scale.colour(value, LIGHT), scale.colour(value, DARK)
    return Markup(' style="--l:{};--li:{};--d:{};--di:{}"').format(light, ink_on(light), dark, ink_on(dark))


def _token_html(token: str, value: float, index: int, scale: ColourScale) -> Markup:
    shown = token.replace("\n", "↵\n").replace("\t", "⇥\t") or "∅"
    style = _token_style(value, scale)
    return Markup('<span class="token" tabindex="0" data-i="{}"{}>{}</span>').format(index, style, shown)


def legend_html(scale: ColourScale, units: str) -> Markup:
    """The colour scale of a marked text with its ends."""
    kind = "diverging" if scale.diverging else "sequential"
    low, high = number_text(scale.low, 3), number_text(scale.high, 3)
    return Markup('<div class="scale"><span>{}</span><i class="{}"></i><span>{}</span><em>{}</em></div>').format(
        low, kind, high, units
    )


def marked_text_html(figure: MarkedText) -> Markup:
    """Tokens with coloured background; the page's script shows the candidates of the one that is pointed at."""
    scale = scale_of(figure)
    pairs: Sequence[tuple[str, float]] = list(zip(figure.tokens, figure.values, strict=True))
    tokens = Markup("").join(_token_html(token, value, i, scale) for i, (token, value) in enumerate(pairs))
    return Markup('<div class="tokens">{}</div>{}').format(tokens, legend_html(scale, figure.units))
