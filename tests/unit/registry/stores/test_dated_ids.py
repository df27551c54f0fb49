"""A part of an id means one run or launch, and a wrong one is answered with late ids."""

import pytest

from interp_registry.errors import UnknownNameError, UsageError
from interp_registry.stores.dated_ids import choose_id

IDS = [f"202601{day:02}-0{day % 7}ab{day:02}" for day in range(1, 21)]


@pytest.mark.parametrize("name", [IDS[4], "20260105", "ab05"])
def test_an_id_is_chosen_by_any_part_that_no_other_shares(name: str):
    assert choose_id("run", name, IDS) == IDS[4]


def test_an_id_that_another_one_begins_with_is_still_chosen():
    assert choose_id("run", "a", ["a", "ab"]) == "a"


def test_a_part_of_several_ids_names_the_latest_of_them():
    with pytest.raises(UsageError) as caught:
        choose_id("run", "2026", IDS)
    assert caught.value.message == f"run '2026' could be {', '.join(IDS[:-9:-1])}, ..."


@pytest.mark.parametrize("name", ["", "nonsense"])
def test_a_name_of_nothing_is_answered_with_the_latest_ids(name: str):
    with pytest.raises(UnknownNameError) as caught:
        choose_id("run", name, IDS, "/runs")
    assert caught.value.message == f"unknown run {name!r} (/runs)"
    assert caught.value.hint == f"the latest: {', '.join(IDS[:-13:-1])}, ..."


def test_a_misspelt_id_is_answered_with_those_like_it():
    with pytest.raises(UnknownNameError, match=f"did you mean {IDS[4]}"):
        choose_id("run", IDS[4][:-1] + "x", IDS)
