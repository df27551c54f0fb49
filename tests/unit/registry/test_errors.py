import inspect

import pytest

from interp_registry import errors
from interp_registry.errors import UnknownNameError, near_names


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ckaa", ["cka"]), ("mutual_kn", ["mutual_knn"]), ("MUTUAL_KNN", ["mutual_knn"]), ("unb", ["unbiased_cka"])],
)
def test_near_names_finds_what_was_meant(name, expected):
    assert near_names(name, ["cka", "mutual_knn", "unbiased_cka"])[: len(expected)] == expected


def test_near_names_stays_silent_when_nothing_resembles():
    assert near_names("zzzz", ["cka", "mutual_knn"]) == []


def test_an_unknown_name_says_what_was_meant_and_where():
    error = UnknownNameError("metric", "ckaa", ["cka", "svcca"], where="--metric")
    assert str(error) == "unknown metric 'ckaa' (--metric) (did you mean cka?)"
    assert error.exit_code == 2


def test_an_unknown_name_without_neighbours_lists_what_is_known():
    assert UnknownNameError("metric", "zzzz", ["cka", "svcca"]).hint == "known: cka, svcca"
    assert UnknownNameError("metric", "zzzz", []).hint == "no metric is registered"


def test_the_tree_in_the_docstring_names_every_error_with_its_exit_code():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.InterpError)]
    for cls in classes:
        drawn = errors.__doc__.split("\n\n")[1].splitlines()
        line = next(line for line in drawn if cls.__name__ in line.split())
        code = 130 if cls is errors.InterruptedRunError else cls.exit_code
        assert str(code) in line.split()[:4], line
    assert set(errors.__all__) == {c.__name__ for c in classes} | {"near_names"}
