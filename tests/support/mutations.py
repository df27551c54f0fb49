"""Mutated words and texts, and the command line in process, cut off in time."""

import contextlib
import datetime as dt
import io
import json
import math
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interp_cli.__main__ import run, show_any_text

LONGEST_SECONDS = 30
"""A hang lasts for ever; a busy machine takes many times the second in which a command ends."""
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

ODD = [
    "",
    "0",
    "-1",
    "1e400",
    "nan",
    "true",
    "none",
    "0..9",
    "[1,2",
    "{a: 1}",
    "a,b",
    "*",
    "é",
    "!!x",
    "x" * 300,
    "\udcff",
]
"""Words that a shell can pass on and that mean nothing; the last is a byte that is no UTF-8."""

WORDS = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/~"), max_size=12),
    st.integers().map(str),
    st.floats().map(str),
)
"""Words for the command line; none leaves the folder where the test works."""


class StandsStillError(BaseException):
    """A command was at work for too long; raised where it was."""


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed on the two streams."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def limited(seconds: float = LONGEST_SECONDS) -> Iterator[None]:
    """Raise :class:`StandsStillError` in the block after so many seconds; the alarm of pytest-timeout is put back."""

    def stop(*_: object) -> None:
        raise StandsStillError

    handlers = {number: signal.getsignal(number) for number in _HANDLED}
    before = signal.signal(signal.SIGALRM, stop)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    start = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - start)) if left else 0)
        signal.signal(signal.SIGALRM, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def say(words: list[str]) -> Said:
    """Run a command in this process, with streams as strict as a terminal's and nothing to read."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    show_any_text(out, err)
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        with limited(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(words)
    finally:
        sys.stdin = stdin
    return Said(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())


def check(words: list[str], codes: tuple[int, ...] = (0, 2)) -> Said:
    """A command ends in time with one of these exit codes and a clear message, and is never a defect."""
    said = say(words)
    assert said.code in codes, said
    check_message(said)
    return said


def check_message(said: Said) -> None:
    """No traceback, nothing that calls itself a defect, and a message where it was refused."""
    assert "Traceback" not in said.err, said
    assert "this is a defect" not in said.err, said
    assert said.code != 2 or re.search("^error ", said.err, re.MULTILINE), said


def try_all(n: int, strategy: st.SearchStrategy[Any], function: Callable[[Any], object]) -> None:
    """Call a function with ``n`` values of a strategy, the same ones every time."""
    chosen = settings(
        max_examples=n, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    chosen(given(strategy)(function))()


def mutated_word(draw: st.DrawFn, text: str) -> str:
    """The text as it is, or with a character dropped or doubled, a dash put in, or an ending added."""
    kind = draw(st.integers(0, 6))
    if kind > 3 or not text:
        return text
    at = draw(st.integers(0, len(text) - 1))
    before, after = text[:at], text[at:]
    return [before + after[1:], before + text[at] + after, f"{before}-{after}", f"{text}.x"][kind]


def plain_values() -> st.SearchStrategy[Any]:
    """What a YAML file can hold."""
    scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates())
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
        max_leaves=6,
    )


_INSERTED = [*":-\t[{~?#'\0é1\n", "\n  ", "&a ", "*a", "!!int ", "!!set ", "!!python/name:os.system ", "? "]
_NUMBERS = [0, -1, 10**12, 1e400, -1e400, math.nan, 1.5]
_PLAIN = [None, True, *_NUMBERS, "", "é", "\ud800", "../..", "x" * 300, [], {}, [[[[1]]]], {"a": {"b": 1}}]
_OTHERS = st.one_of(st.sampled_from([*_PLAIN, b"hi", dt.date(2026, 1, 1)]), plain_values())


@st.composite
def mutated_texts(draw: st.DrawFn, text: str) -> str:
    """A YAML or JSON text with other values or names in one or two places, or with its form damaged there."""
    if draw(st.integers(0, 3)):
        return draw(changed_inside(text))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 9)))
        put_in = draw(st.one_of(st.sampled_from(_INSERTED), st.just(text[at:end] * 2), st.just("")))
        text = text[:at] + put_in + text[end:]
    return text


@st.composite
def changed_inside(draw: st.DrawFn, text: str) -> str:
    """A YAML file, a JSON file or one line of several of JSON, whole in form, with one or two places changed."""
    is_json = text.startswith("{")
    lines = text.splitlines(keepends=True) if is_json and "\n{" in text else [text]
    number = draw(st.integers(0, len(lines) - 1))
    data = yaml.safe_load(lines[number])
    for _ in range(draw(st.integers(1, 2))):
        places = list(places_in(data)) if isinstance(data, (dict, list)) else []
        if places:
            change(draw, *draw(st.sampled_from(places)))
    lines[number] = json.dumps(data, default=str) + "\n" if is_json else yaml.safe_dump(data, sort_keys=False)
    return "".join(lines)


def places_in(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys or indices."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield data, key
        if isinstance(value, (dict, list)):
            yield from places_in(value)


def change(draw: st.DrawFn, container: Any, key: Any) -> None:
    """Put another value in a place, leave it out, or give it another name."""
    kind = draw(st.integers(0, 4))
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[mutated_word(draw, str(key))] = container.pop(key)
    else:
        container[key] = draw(_OTHERS)
