"""Properties of launches and sweeps: round trips, and the grid against the obvious product."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from interp_cli.launch.items import commands_for, safe_name
from interp_cli.launch.sweep_file import Values
from interp_cli.launch.sweep_points import grid, option_words, short_names
from interp_plugins.launchers.slurm import gpus_asked_for
from interp_registry.config_io.values import from_text
from interp_registry.task_numbers import format_numbers, parse_numbers

names = st.text(st.characters(codec="ascii", categories=("Ll",)), min_size=1, max_size=3)
keys = st.lists(st.lists(names, min_size=1, max_size=3).map(".".join), min_size=1, max_size=4, unique=True)


@given(st.sets(st.integers(0, 10_000), min_size=1))
def test_numbers_come_back_from_their_text(numbers: set[int]) -> None:
    assert parse_numbers(format_numbers(numbers)) == sorted(numbers)


@given(keys, st.data())
def test_a_grid_is_the_product_in_order_without_repeats(some: list[str], data: st.DataObject) -> None:
    space = {key: data.draw(st.lists(st.integers(), min_size=1, max_size=3, unique=True)) for key in some}
    points = list(grid({key: Values(tuple(values)) for key, values in space.items()}))
    assert [tuple(point.values()) for point in points] == list(itertools.product(*space.values()))
    assert all(list(point) == some for point in points)
    assert len({json.dumps(point) for point in points}) == len(points)


@given(keys)
def test_short_names_tell_keys_apart_and_are_their_ends(some: list[str]) -> None:
    short = short_names(some)
    assert len(set(short.values())) == len(some)
    assert all(key == name or key.endswith(f".{name}") for key, name in short.items())


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**62), 2**62), st.booleans())
def test_numbers_keep_their_value_on_the_command_line(real: float, whole: int, flag: bool) -> None:
    texts = [word.partition("=")[2] for word in option_words({"a": real, "b": whole, "c": flag})]
    assert from_text(texts[0], float, "a") == real
    assert from_text(texts[1], int, "b") == whole
    assert from_text(texts[2], bool, "c") is flag


@given(st.text(min_size=1), st.lists(st.text(), max_size=3))
def test_an_item_stands_where_it_was_asked_for_whatever_it_is(item: str, words: list[str]) -> None:
    (made,) = commands_for([*words, "x={item}"], [item])
    assert made[-1] == f"x={item}"
    assert len(made) == len(words) + 1


@given(st.text())
def test_names_for_queues_are_plain(text: str) -> None:
    assert all(c.isascii() and (c.isalnum() or c in "._-") for c in safe_name(text))


@given(st.integers(1, 50), st.integers(1, 12), st.integers(0, 8))
def test_an_array_never_counts_more_gpus_than_its_throttle_allows(n_tasks: int, throttle: int, gpus: int) -> None:
    rows = [["9", "interp-x", f"[0-{n_tasks - 1}%{throttle}]", "PENDING", f"gres:gpu:{gpus}" if gpus else "N/A"]]
    assert gpus_asked_for(rows) == gpus * min(n_tasks, throttle)
