"""Figures accept arrays, refuse what does not fit, and go to strict JSON and back."""

import json
import math

import numpy as np
import pytest

from interp_registry.errors import CorruptError, PluginError
from interp_registry.figures import (
    Edge,
    Figure,
    Graph,
    HeatMap,
    Histogram,
    Images,
    Lines,
    MarkedText,
    Node,
    Picture,
    Reference,
    Scatter,
    Series,
    Table,
    TopToken,
    figure_from_json,
)

EXAMPLES: list[Figure] = [
    HeatMap(np.array([[0.1, math.nan], [math.inf, 2.0]]), rows=("a", "b"), marked=((1, 1),), title="scores", center=0),
    HeatMap([[1, 2]], annotations=[["x", "y"]], hover=[["", "long"]], column_order=(1, 0), value_range=(0, None)),
    Lines(
        (Series("train", [1, 2], np.ones(2), low=[0, 0], high=[2, 2]),),
        x_log=True,
        references=(Reference(0.1, "null"),),
    ),
    Scatter([1.0, 2.0], [2.0, 1.0], labels=("p", "q"), groups=("g", "h"), regression=True),
    Histogram.of([1.0, 2.0, math.nan, 3.0], n_bins=3, observed=2.5, threshold=2.9),
    Graph((Node("in"), Node("out", "g", 2.0, 0.5, 0.5)), (Edge(0, 1, 0.3, "w"),), directed=True),
    Images((Picture.of_array(np.zeros((4, 5, 3), np.uint8), "black"),), columns=2),
    MarkedText(("Hel", "lo"), (0.5, -0.5), top=((TopToken("He", 0.9),), ()), center=0.0),
    Table(("model", "score"), (("a/b", np.float32(0.5)), (None, math.nan), (True, 3)), notes=("n = 1024",)),
]


@pytest.mark.parametrize("figure", EXAMPLES, ids=lambda figure: figure.kind)
def test_a_figure_read_from_its_strict_json_equals_itself(figure):
    text = json.dumps(figure.to_json(), allow_nan=False)
    assert figure_from_json(json.loads(text)) == figure


def test_every_kind_stands_among_the_examples():
    from interp_registry import figures

    assert {figure.kind for figure in EXAMPLES} == set(figures._KINDS)


def test_arrays_become_tuples_of_python_floats():
    figure = HeatMap(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert figure.values == ((0.0, 1.0, 2.0), (3.0, 4.0, 5.0))
    assert type(figure.values[0][0]) is float
    assert figure.shape == (2, 3)


def test_equal_figures_with_nan_are_equal():
    assert HeatMap([[float("nan")]]) == HeatMap([[np.float64("nan")]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HeatMap([[1.0, 2.0], [3.0]]), "rows differ in length"),
        (lambda: HeatMap([[1.0]], rows=("a", "b")), "2 labels for 1 rows"),
        (lambda: HeatMap([[1.0]], marked=((0, 1),)), "marked cell is outside"),
        (lambda: HeatMap([[1.0]], annotations=(("a", "b"),)), "annotations is not 1 x 1"),
        (lambda: HeatMap([[1.0], [2.0]], row_order=(0, 0)), "not a permutation"),
        (lambda: HeatMap([["high"]]), "expected float, found 'high'"),
        (lambda: Series("s", (1.0,), (1.0, 2.0)), "differ in length"),
        (lambda: Scatter((1.0,), (1.0,), labels=("a", "b")), "2 labels for 1 points"),
        (lambda: Histogram((0.0, 1.0), (1.0, 2.0)), "2 edges for 2 bins"),
        (lambda: Histogram((1.0, 0.0), (1.0,)), "edges do not rise"),
        (lambda: Graph((Node("a"),), (Edge(0, 1),)), "leads to no node"),
        (lambda: Picture(b"<svg onload=alert(1)>"), "not a PNG file"),
        (lambda: MarkedText(("a",), ()), "0 values for 1 tokens"),
        (lambda: Table(("a",), ((1, 2),)), "row 0 has 2 cells for 1 columns"),
        (lambda: Table(("a",), (([],),)), "expected one of str, float, int, bool"),
        (lambda: Reference(0.0, axis="z"), "expected one of 'x', 'y'"),
    ],
)
def test_a_figure_that_does_not_fit_is_refused_with_the_reason(make, message):
    with pytest.raises(PluginError, match=message):
        make()


def test_a_heat_map_is_arranged_in_its_drawing_order():
    figure = HeatMap([[1, 2], [3, 4]], rows=("a", "b"), row_order=(1, 0), marked=((0, 1),)).arranged()
    assert figure.values == ((3.0, 4.0), (1.0, 2.0))
    assert figure.rows == ("b", "a")
    assert figure.columns == ("0", "1")
    assert figure.marked == ((1, 1),)


def test_a_table_of_records_takes_columns_in_order_of_appearance():
    table = Table.of_records([{"b": 1}, {"a": "x", "b": 2}], title="t")
    assert table.columns == ("b", "a")
    assert table.rows == ((1, None), (2, "x"))


def test_reading_names_what_is_wrong():
    with pytest.raises(CorruptError, match="unknown figure kind 'heatmap'"):
        figure_from_json({"kind": "heatmap"})
    with pytest.raises(CorruptError, match="newer than"):
        figure_from_json({"kind": "heat_map", "v": 99, "values": []})
    with pytest.raises(CorruptError, match="no field 'colour'"):
        figure_from_json({"kind": "heat_map", "v": 1, "values": [], "colour": "red"})
    with pytest.raises(CorruptError, match="not a HeatMap"):
        figure_from_json({"kind": "heat_map", "v": 1})


def test_a_histogram_counts_finite_samples_only():
    histogram = Histogram.of([0.0, 1.0, math.inf, math.nan], n_bins=2)
    assert histogram.counts == (1.0, 1.0)
    assert histogram.edges == (0.0, 0.5, 1.0)
