"""Tables fit the terminal, and words, names and numbers in them stay whole where there is room."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from interp_cli.grid import Grid

RUN = "20261121T062953902Z-5eb1f0"


def drawn(grid: Grid, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(grid)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def grid(columns: list[str], *rows: list[str], numeric: list[bool] | None = None) -> Grid:
    return Grid(columns, [[Text(cell) for cell in row] for row in rows], numeric or [])


def test_numbers_that_do_not_fit_follow_in_a_block_that_begins_with_the_names():
    columns = ["metric", "x", "score", "p", "calibrated", "threshold"]
    row = ["mutual_knn", "my-lm", "0.774", "0.004975", "0.7426", "0.122"]
    lines = drawn(grid(columns, row, numeric=[False, False, True, True, True, True]), 40)
    assert lines == [
        "metric      x      score         p",
        "mutual_knn  my-lm  0.774  0.004975",
        "",
        "metric      x      calibrated  threshold",
        "mutual_knn  my-lm      0.7426      0.122",
    ]


def test_every_block_has_all_the_names_of_a_row():
    rows = [["clip-bow", "pairs", f"text_retrieval_recall@{k}", "0.008333", "0.00146"] for k in (1, 5)]
    lines = drawn(grid(["model", "dataset", "metric", "score", "low"], *rows, numeric=[False] * 3 + [True] * 2), 56)
    assert lines[5:] == [
        "clip-bow  pairs    text_retrieval_recall@1  0.00146",
        "clip-bow  pairs    text_retrieval_recall@5  0.00146",
    ]


def test_numbers_in_front_of_the_names_belong_to_the_names():
    lines = drawn(
        grid(["layer", "lens", "KL", "loss"], ["0", "tuned", "0.12", "2.5"], numeric=[True, False, True, True]), 20
    )
    assert lines == ["layer  lens     KL", "    0  tuned  0.12", "", "layer  lens   loss", "    0  tuned   2.5"]


def test_a_name_stays_whole_beside_a_path_that_has_no_spaces():
    lines = drawn(
        grid(["run", "state", "what"], [RUN, "interrupted", "extract photos:captions=captions_named.csv"]), 60
    )
    assert lines[1].startswith(f"{RUN}  interrupted  extract")


def test_a_name_stays_whole_and_the_long_text_beside_it_is_folded_between_words():
    lines = drawn(grid(["run", "state", "what"], [RUN, "done", "extract lm-d64 --dataset shapes --limit 64"]), 60)
    assert lines[1] == f"{RUN}  done   extract lm-d64 --dataset"
    assert [line.strip() for line in lines[2:]] == ["shapes --limit 64"]


def test_a_name_that_is_wider_than_the_terminal_is_folded_and_loses_nothing():
    lines = drawn(grid(["key"], ["a" * 50]), 20)
    assert "".join(lines[1:]) == "a" * 50


@given(
    st.lists(st.lists(st.text("ab ", max_size=30), min_size=3, max_size=3), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.integers(20, 90),
)
def test_every_block_fits_and_every_column_is_shown(rows: list[list[str]], numeric: list[bool], width: int):
    made = grid(["one", "two", "three"], *rows, numeric=numeric)
    blocks = made.blocks(width)
    assert {i for block in blocks for i in block} == {0, 1, 2}
    assert all(sum(block.values()) + 2 * (len(block) - 1) <= width for block in blocks)
    assert all(cell_len(line) <= width for line in drawn(made, width))


@pytest.mark.parametrize("width", [30, 80])
def test_a_table_without_rows_shows_its_headers(width: int):
    assert drawn(grid(["run", "state"]), width) == ["run  state"]
