"""Drawings come from data alone: same figure, same drawing, with every text escaped and every colour from a theme."""

import json
import math
import re

import pytest

from interp_registry.contracts.method import Result
from interp_registry.errors import PluginError, UsageError
from interp_registry.figures import HeatMap, Picture, Scatter, Table
from interp_registry.plots.interactive import is_plot, plot_spec, themed
from interp_registry.plots.palette import DARK, LIGHT, THEMES, colour_at, ink_on, mix
from interp_registry.plots.scale import cell_texts, number_text, scale_of
from interp_registry.plots.static import can_draw, draw_bytes
from interp_registry.sample_figures import sample_figures

PLOTS = [figure for figure in sample_figures() if is_plot(figure)]


def strings(value):
    if isinstance(value, dict):
        return [s for item in value.values() for s in strings(item)]
    if isinstance(value, list):
        return [s for item in value for s in strings(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("figure", PLOTS, ids=lambda figure: figure.title)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=list(THEMES))
def test_a_specification_is_strict_json_whose_colours_are_all_replaced_by_a_theme(figure, theme):
    spec = themed(plot_spec(figure), theme)
    json.dumps(spec, allow_nan=False)
    assert not [text for text in strings(spec) if text.startswith("@")]


def test_labels_cannot_bring_tags_into_a_plot():
    for figure in sample_figures("<a href='https://example.org'>x</a>"):
        if is_plot(figure):
            assert not [text for text in strings(plot_spec(figure)) if "<a" in text]


def test_a_label_that_looks_like_a_colour_role_stays_as_it_is():
    figure = Scatter((1.0,), (1.0,), labels=("@ink",), groups=("@paper",))
    trace = themed(plot_spec(figure), LIGHT)["data"][0]
    assert trace["text"] == ["@ink"]
    assert trace["name"] == "@paper"


def test_marks_and_cell_texts_follow_the_drawing_order():
    figure = HeatMap([[0.1, 0.2], [0.3, 0.4]], row_order=(1, 0), marked=((0, 1),))
    spec = plot_spec(figure)
    assert spec["data"][0]["z"] == [[0.3, 0.4], [0.1, 0.2]]
    assert spec["data"][1]["text"] == [".300", ".400", ".100", ".200"]
    assert (spec["layout"]["shapes"][0]["y0"], spec["layout"]["shapes"][0]["x1"]) == (0.53, 1.47)


@pytest.mark.parametrize(
    "figure", [f for f in sample_figures("$x_1$ <b>") if can_draw(f)], ids=lambda figure: figure.kind
)
def test_pictures_are_the_same_bytes_each_time(figure):
    first = draw_bytes(figure)
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert first == draw_bytes(figure)


def test_an_svg_picture_asks_for_nothing_and_bears_no_date():
    svg = draw_bytes(sample_figures()[0], "svg").decode()
    assert "<dc:date" not in svg
    assert not re.findall(r'(?:href|src)="(?!#|data:)', svg)


def test_tables_have_no_drawing():
    with pytest.raises(UsageError, match="table 't' has no drawing"):
        draw_bytes(Table(("a",), (), title="t"))


@pytest.mark.parametrize("figure", sample_figures("<i>"), ids=lambda figure: figure.title)
def test_notebooks_show_every_kind_without_its_tags(figure):
    shown = figure._repr_html_()
    assert "<i>" not in shown
    assert "://" not in shown


def test_plot_gives_a_plotly_figure_titled_with_the_correlation():
    figure = next(f for f in sample_figures() if isinstance(f, Scatter)).plot()
    assert "Spearman rho = -1.00" in figure.layout.title.text
    with pytest.raises(UsageError, match="a table has no axes"):
        Table(("a",), ()).plot()


def test_every_kind_becomes_a_data_frame():
    shapes = {figure.title: figure.to_pandas().shape for figure in sample_figures("s")}
    assert shapes["s: heat map"] == (2, 3)
    assert shapes["s: lines"] == (43, 5)
    assert shapes["s: scatter"] == (5, 4)
    assert shapes["s: histogram"] == (12, 3)
    assert shapes["s: graph"] == (4, 4)
    assert shapes["s: images"] == (3, 2)
    assert shapes["s: marked text"] == (5, 2)
    assert shapes["s: table"] == (3, 4)
    frame = sample_figures("s")[0].to_pandas()
    assert frame.loc["lm-m", "vit-s"] == 0.086


def test_a_picture_of_floats_is_rounded_to_bytes_and_wrong_shapes_are_refused():
    import io

    import numpy as np
    from PIL import Image

    picture = Picture.of_array(np.array([[0.0, 0.5, 2.0, math.nan]]))
    assert list(np.asarray(Image.open(io.BytesIO(picture.png))).ravel()) == [0, 128, 255, 0]
    with pytest.raises(PluginError, match=r"not a picture: shape \(2,\)"):
        Picture.of_array([1.0, 2.0])


def test_colour_scales_end_where_their_stops_do_and_text_stays_readable_on_them():
    assert mix("#000000", "#ffffff", 0.5) == "#808080"
    for theme in THEMES.values():
        for stops in (theme.sequential, theme.diverging):
            assert (colour_at(stops, -1.0), colour_at(stops, 2.0)) == (stops[0], stops[-1])
            for step in range(33):
                back = colour_at(stops, step / 32)
                assert contrast(back, ink_on(back)) >= 4.0


def contrast(first, second):
    def luminance(colour):
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_a_diverging_scale_is_symmetric_about_its_centre():
    scale = scale_of(HeatMap([[-1.0, 3.0]], center=0.0))
    assert (scale.low, scale.high, scale.share(0.0)) == (-3.0, 3.0, 0.5)
    flat = scale_of(HeatMap([[2.0, math.nan]]))
    assert flat.share(2.0) == 0.5
    assert math.isnan(flat.share(math.nan))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "True"),
        (1024, "1024"),
        (3.0, "3"),
        (0.0123456, "0.01235"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (1e9, "1e+09"),
    ],
)
def test_numbers_are_shown_in_few_digits(value, text):
    assert number_text(value) == text


def test_cells_show_scores_without_the_leading_zero_and_counts_without_decimals():
    assert cell_texts(HeatMap([[0.0864, -0.5, math.nan]])) == [[".086", "-.500", ""]]
    assert cell_texts(HeatMap([[1.0, 20.0]])) == [["1", "20"]]
    assert cell_texts(HeatMap([[1.5]], digits=1)) == [["1.5"]]


def test_a_result_shows_itself_in_a_notebook_with_its_names_escaped():
    figures = sample_figures()
    result = Result({"<b>score</b>": 0.5}, [figures[8]], figures[:2])
    shown = result._repr_html_()
    assert "<b>" not in shown
    assert shown.count("<img") == 2
    assert shown.count("<table") == 2
    assert result.to_pandas().shape == (3, 4)
    assert Result({"score": 0.5}).to_pandas().loc[0, "score"] == 0.5
    assert len(result.plot().data) == 2
    with pytest.raises(UsageError, match="no figure with axes"):
        Result().plot()
