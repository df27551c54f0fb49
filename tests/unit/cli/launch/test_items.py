"""What users type for a launch: arrays, {item}, durations, names."""

from pathlib import Path

import pytest

from interp_cli.launch.items import array_items, commands_for, minutes_of, safe_name
from interp_registry.errors import UsageError
from interp_registry.task_numbers import format_numbers, parse_numbers


def test_array_items_are_lines_of_a_file_or_a_list_with_commas(tmp_path: Path) -> None:
    file = tmp_path / "models.txt"
    file.write_text("a/b\n\n# no model\n c d \n")
    assert array_items(str(file)) == ["a/b", "c d"]
    assert array_items("x, y,,z") == ["x", "y", "z"]


@pytest.mark.parametrize("text", ["missing.txt", "./nothing", ",", ""])
def test_arrays_without_items_and_missing_files_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        array_items(text)


def test_item_is_replaced_in_every_word() -> None:
    assert commands_for(["extract", "--model={item}", "x{item}y"], ["a b"]) == [("extract", "--model=a b", "xa by")]


@pytest.mark.parametrize("command", [[], ["extract"]])
def test_an_array_needs_a_command_that_uses_it(command: list[str]) -> None:
    with pytest.raises(UsageError):
        commands_for(command, ["a"])


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("8:00:00", 480),
        ("1-12:00:00", 2160),
        ("10:30", 11),
        ("8h", 480),
        ("45m", 45),
        ("30s", 1),
        ("1.5h", 90),
        ("2d", 2880),
    ],
)
def test_durations(text: str, minutes: int) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["", "0", "soon", "-5", "1:2:3:4", "0:00:00"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        minutes_of(text)


def test_names_for_queues_hold_no_surprises() -> None:
    assert safe_name("a b/c;$(x)\n") == "a-b-c-x"
    assert len(safe_name("x" * 99)) == 40


def test_numbers_are_written_as_ranges_and_read_back() -> None:
    assert format_numbers([3, 0, 1, 2, 7, 7]) == "0-3,7"
    assert parse_numbers("0-3,7") == [0, 1, 2, 3, 7]
    assert format_numbers([]) == ""
    for wrong in ("", "a", "1-", "-3", "1,,2"):
        with pytest.raises(UsageError):
            parse_numbers(wrong)
