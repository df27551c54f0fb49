"""How every kind of figure looks in a terminal: with colour, and as plain text."""

import pytest
from rich.console import Console

from interp_cli.report.terminal import figure_renderable
from interp_registry.sample_figures import sample_figures


def shown(figure, **options):
    console = Console(width=100, **options)
    with console.capture() as captured:
        console.print(figure_renderable(figure, console))
    return captured.get()


@pytest.mark.parametrize("figure", sample_figures(), ids=lambda figure: figure.title)
def test_figures_in_plain_text_look_as_before(figure, snapshot):
    text = shown(figure, force_terminal=False)
    assert "\x1b" not in text
    assert text == snapshot


@pytest.mark.parametrize(
    "figure", [f for f in sample_figures() if f.kind in ("heat_map", "marked_text")], ids=lambda f: f.title
)
def test_figures_in_colour_look_as_before(figure, snapshot, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("COLORFGBG", raising=False)
    text = shown(figure, force_terminal=True, color_system="truecolor")
    assert "\x1b[" in text
    assert text == snapshot


def test_no_color_and_dumb_terminals_get_numbers_without_colour(monkeypatch):
    figure = sample_figures()[0]
    monkeypatch.setenv("TERM", "dumb")
    assert ".086*" in shown(figure, force_terminal=True, color_system="truecolor")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "48;2" not in shown(figure, force_terminal=True, color_system="truecolor")


@pytest.mark.parametrize("width", [40, 80, 160])
def test_no_line_is_wider_than_the_terminal(width):
    for figure in sample_figures():
        if figure.kind == "heat_map":
            console = Console(width=width, force_terminal=True, color_system="truecolor", no_color=False)
            from interp_cli.report.terminal_heat_map import heat_map_text, plain_heat_map

            assert max(line.cell_len for line in heat_map_text(figure, console.width).split("\n")) <= width
            assert max(map(len, plain_heat_map(figure, width).splitlines()[:-1])) <= width


def test_huge_heat_maps_are_thinned_and_say_so():
    from interp_cli.report.terminal_heat_map import heat_map_text, plain_heat_map
    from interp_registry.figures import HeatMap

    figure = HeatMap(
        [[float(i + j) for j in range(300)] for i in range(500)], units="nats", marked=((0, 0), (499, 299))
    )
    plain = plain_heat_map(figure, 120).splitlines()
    assert "500 x 300, one row in 13 and one column in 8 shown" in plain
    assert len(plain) < 200
    coloured = heat_map_text(figure, 120).plain.splitlines()
    assert len(coloured) <= 42
    assert "500 x 300, one row in 7 and one column in 3 shown" in coloured[-2]


@pytest.mark.parametrize("width", [12, 30, 60, 90, 300])
def test_words_in_cells_are_shown_at_every_width_and_columns_that_do_not_fit_follow_below(width):
    from interp_cli.report.terminal_heat_map import heat_map_text
    from interp_registry.figures import HeatMap

    words = [[f"word{i}{j}" for j in range(12)] for i in range(3)]
    columns = [f"{j} token" for j in range(12)]
    figure = HeatMap([[0.1 * j] * 12 for j in range(3)], rows=["2", "1", "0"], columns=columns, annotations=words)
    shown = heat_map_text(figure, width)
    assert max(line.cell_len for line in shown.split("\n")) <= max(width, 25)  # the legend
    assert [word for row in words for word in row if word not in shown.plain] == []
    blocks = [line.split()[1:] for line in shown.plain.splitlines() if line.startswith("2 ")]
    assert [word for block in blocks for word in block] == words[0]
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 3  # of about the same size
