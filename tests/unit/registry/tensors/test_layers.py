"""Layer addresses and the grammar that chooses them (default tier)."""

import pytest

from interp_registry.errors import UsageError
from interp_registry.tensors.layers import Layer, select_layers

LANGUAGE = [Layer(0), Layer(1), Layer(2), Layer(3, pre_norm=True), Layer(3)]


@pytest.mark.parametrize("layer", [*LANGUAGE, Layer(2, tower="vision"), Layer(12, pre_norm=True, tower="text")])
def test_an_address_survives_being_written_and_read(layer) -> None:
    assert Layer.parse(str(layer)) == layer


def test_addresses_sort_in_the_order_of_computation() -> None:
    shuffled = [LANGUAGE[place] for place in (4, 0, 3, 1, 2)]
    assert sorted(shuffled) == LANGUAGE


@pytest.mark.parametrize(
    ("text", "expected"),
    [("L", Layer(3)), ("last", Layer(3)), ("-1", Layer(3)), ("-4", Layer(0)), ("L.pre_norm", Layer(3, pre_norm=True))],
)
def test_addresses_may_count_from_the_end(text, expected) -> None:
    assert Layer.parse(text, last=3) == expected


@pytest.mark.parametrize("text", ["", "one", "1.5", "3.post_norm", "-9"])
def test_what_is_no_address_is_refused(text) -> None:
    with pytest.raises(UsageError):
        Layer.parse(text, last=3)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("default", [Layer(0)]),
        ("all", LANGUAGE),
        ("0,2", [Layer(0), Layer(2)]),
        ("2,0,2", [Layer(0), Layer(2)]),
        ("0-2", [Layer(0), Layer(1), Layer(2)]),
        ("0-3:2,last", [Layer(0), Layer(2), Layer(3)]),
        ("L.pre_norm", [Layer(3, pre_norm=True)]),
    ],
)
def test_layers_are_chosen_without_repetition_in_order(choice, expected) -> None:
    assert select_layers(choice, LANGUAGE, [Layer(0)]) == expected


@pytest.mark.parametrize("choice", ["4", "0-9", "1.pre_norm", "2-1"])
def test_a_layer_that_does_not_exist_is_named(choice) -> None:
    with pytest.raises(UsageError, match="no layer"):
        select_layers(choice, LANGUAGE, [])
