"""One HTML page for any runs: everything is inside it, nothing is requested, every text from a run is escaped.

Its policy (``Content-Security-Policy``) forbids all requests and every script but the two that are written here, by
their hashes.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from interp_cli.report.comparison import config_differences, overlaid_curves, run_names, scalar_table
from interp_cli.report.fragments import images_html, marked_text_html, table_html
from interp_cli.report.images import figure_stems, write_figure
from interp_cli.report.model import RunReport, flatten
from interp_registry.figures import Figure, HeatMap, Images, MarkedText, Table
from interp_registry.plots.interactive import is_plot, plot_spec
from interp_registry.plots.notebook import regression_sentence
from interp_registry.plots.palette import THEMES, Theme
from interp_registry.plots.scale import number_text
from interp_registry.stores.artifact import replace_text

__all__ = ["render_html", "write_report"]

Block = dict[str, Any]
"""A figure or table as the template wants it."""

_TILES = 8
_TILES_IN_A_ROW = 5


def render_html(runs: Sequence[RunReport], files: Mapping[int, Sequence[str]] | None = None, title: str = "") -> str:
    """The page for ``runs``; several runs are also compared.

    Args:
        runs: At least one run.
        files: For the figure with each running number (see :func:`write_report`), addresses of its files, relative to
            the page.
        title: Heading of the page; the run's title, or "N runs compared", by default.

    Returns:
        The page; it is the same for the same runs, up to the date that it bears.
    """
    blocks = _Blocks(files or {})
    sections = [_run_section(run, name, blocks) for run, name in zip(runs, run_names(runs), strict=True)]
    comparison = _comparison_section(runs, blocks) if len(runs) > 1 else []
    library = _plotly_source() if blocks.data else ""
    return _template().render(
        title=title or (runs[0].title if len(runs) == 1 else f"{len(runs)} runs compared"),
        policy=_policy([_asset("page.js"), *filter(None, [library])]),
        style=_trusted(_theme_css() + _asset("page.css")),
        script=_trusted(_asset("page.js")),
        library=_packed(library) if library else "",
        data=_trusted(_script_json({"figures": blocks.data, "themes": _theme_data()})),
        comparison=comparison,
        runs=sections,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def write_report(runs: Sequence[RunReport], folder: Path, title: str = "", files: bool = True) -> Path:
    """Write ``index.html`` into ``folder`` and, with ``files``, every figure and table as files into ``folder/figures``.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = all_figures(runs) if files else []
    written = {
        number: [f"figures/{path.name}" for path in write_figure(figure, folder / "figures", stem)]
        for number, (figure, stem) in enumerate(zip(figures, figure_stems(figures), strict=True))
    }
    page = folder / "index.html"
    replace_text(page, render_html(runs, written, title))
    return page


def all_figures(runs: Sequence[RunReport]) -> list[Figure]:
    """Every figure and table of the runs in the order in which the page numbers them."""
    return [figure for run in runs for figure in (*run.figures, *run.tables)]


class _Blocks:
    """Numbers the figures of a page and collects the data that its script draws from."""

    def __init__(self, files: Mapping[int, Sequence[str]]) -> None:
        self.files = files
        self.data: dict[str, Any] = {}
        self._numbered = 0
        self._unnumbered = 0

    def block(self, figure: Figure, numbered: bool = True) -> Block:
        """The block of one figure; ``numbered`` ones have files."""
        if numbered:
            number, self._numbered = self._numbered, self._numbered + 1
            key, links = (
                f"figure-{number + 1}",
                [(Path(href).suffix[1:].upper(), href) for href in self.files.get(number, ())],
            )
        else:
            self._unnumbered += 1
            key, links = f"comparison-{self._unnumbered}", []
        block: Block = {"id": key, "title": figure.title or figure.kind.replace("_", " "), "caption": figure.caption}
        block["fact"] = regression_sentence(figure)
        return block | {
            "links": links,
            "wide": _is_wide(figure),
            "plot": is_plot(figure),
            "body": self._body(figure, key),
        }

    def _body(self, figure: Figure, key: str) -> Markup:
        if is_plot(figure):
            self.data[key] = plot_spec(figure)
            height = self.data[key]["layout"]["height"]
            element = '<div class="plot" role="img" aria-label="{}" data-figure="{}" style="min-height:{}px"></div>'
            return Markup(element).format(figure.title, key, height)  # noqa: S704 - a constant, formatted by Markup
        if isinstance(figure, MarkedText):
            self.data[key] = {"tokens": _token_data(figure)}
            return Markup('<div data-tokens="{}">{}</div>').format(key, marked_text_html(figure))
        if isinstance(figure, Images):
            return images_html(figure)
        assert isinstance(figure, Table)  # noqa: S101 - the set of kinds is closed
        return table_html(figure)


def _is_wide(figure: Figure) -> bool:
    """Whether a figure wants the whole width of the page."""
    if isinstance(figure, Table):
        return len(figure.columns) > 4
    if isinstance(figure, HeatMap):
        return figure.shape[1] * 42 + max(map(len, figure.rows), default=2) * 7 > 380
    return isinstance(figure, (MarkedText, Images))


def _token_data(figure: MarkedText) -> list[Any]:
    tops = figure.top or ((),) * len(figure.tokens)
    return [
        [token, number_text(value), [[top.token, number_text(top.value, 3)] for top in candidates]]
        for token, value, candidates in zip(figure.tokens, figure.values, tops, strict=True)
    ]


def _run_section(run: RunReport, name: str, blocks: _Blocks) -> Block:
    scalars = [
        (key, value if isinstance(value, str) else number_text(value, 3)) for key, value in run.result.scalars.items()
    ]
    n_tiles = min(len(scalars), _TILES)
    environment = flatten(run.environment)
    command = environment.pop("command", "")
    return {
        "name": name,
        "lead": run.lead,
        "state": run.state,
        "duration": _duration(run.seconds),
        "warnings": run.warnings,
        "failures": run.result.failures,
        "tiles": scalars[:_TILES],
        "tile_columns": n_tiles if n_tiles <= _TILES_IN_A_ROW else -(-n_tiles // 2),
        "more": scalars[_TILES:],
        "blocks": _paired([blocks.block(figure) for figure in (*run.figures, *run.tables)]),
        "command": command,
        "config": flatten(run.config),
        "environment": environment,
        "artifacts": [str(path) for path in run.result.artifacts],
        "folder": str(run.folder) if run.folder else "",
    }


def _paired(blocks: list[Block]) -> list[Block]:
    """Plots of half the page's width stand two in a row; one that would stand alone gets the whole width."""
    alone: Block | None = None
    for block in blocks:
        if not block["wide"]:
            alone = block if alone is None else None
        elif alone is not None:
            alone["wide"], alone = True, None
    if alone is not None and alone["plot"]:
        alone["wide"] = True
    return blocks


def _comparison_section(runs: Sequence[RunReport], blocks: _Blocks) -> list[Block]:
    shown: list[Figure] = [scalar_table(runs), config_differences(runs), *overlaid_curves(runs)]
    return [
        blocks.block(figure, numbered=False) | ({"wide": True} if isinstance(figure, Table) else {}) for figure in shown
    ]


def _duration(seconds: float | None) -> str:
    if not seconds:
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _trusted(text: str) -> Markup:
    """Text that stands in the page as it is: this package's own style and scripts, and JSON with ``<`` escaped."""
    return Markup(text)  # noqa: S704 - the three callers are in render_html


def _asset(name: str) -> str:
    return (resources.files("interp_cli.report") / "page" / name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html.jinja"))


@cache
def _plotly_source() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


@cache
def _packed(source: str) -> str:
    """A script as base64 of its gzip, which the page's own script inflates; the policy names its hash all the same."""
    return base64.b64encode(gzip.compress(source.encode(), 9, mtime=0)).decode("ascii")


def _policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    parts = ("default-src 'none'", f"script-src {hashes}", "style-src 'unsafe-inline'", "img-src data: blob:")
    return "; ".join((*parts, "base-uri 'none'", "form-action 'none'"))


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    return text.translate({ord(character): escape for character, escape in escapes.items()})


def _theme_data() -> dict[str, Any]:
    scales = ("sequential", "diverging")
    return {
        name: {
            **{role: getattr(theme, role) for role in ("paper", "ink", "muted", "grid", "mark", "empty", "series")},
            **{
                role: [[i / (len(getattr(theme, role)) - 1), c] for i, c in enumerate(getattr(theme, role))]
                for role in scales
            },
        }
        for name, theme in THEMES.items()
    }


def _theme_css() -> str:
    dark = _variables(THEMES["dark"])
    return (
        f":root{{color-scheme:light;{_variables(THEMES['light'])}}}\n"
        f"@media (prefers-color-scheme: dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
    )


def _variables(theme: Theme) -> str:
    roles = "".join(f"--{role}:{getattr(theme, role)};" for role in ("paper", "ink", "muted", "grid", "mark"))
    scales = "".join(
        f"--{role}:linear-gradient(90deg,{','.join(getattr(theme, role))});" for role in ("sequential", "diverging")
    )
    return roles + scales + f"--accent:{theme.series[0]};"
