"""Sets of task numbers as short text: ``0-3,7``."""

from collections.abc import Iterable

from interp_registry.errors import UsageError

__all__ = ["format_numbers", "parse_numbers"]


def format_numbers(numbers: Iterable[int]) -> str:
    """Sorted numbers as ranges, e.g. ``0-3,7``."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def parse_numbers(text: str) -> list[int]:
    """Read what :func:`format_numbers` writes.

    Raises:
        UsageError: The text is no list of numbers and ranges.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise UsageError(f"{text!r} is no list of task numbers", "write it like 0-3,7")
        numbers.update(range(int(first), int(last or first) + 1))
    return sorted(numbers)
