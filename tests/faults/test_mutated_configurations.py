"""Mutated command lines and configuration files: always one clear message, never a traceback, never a hang."""

import contextlib
import io
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiers import counts

from interp_cli.__main__ import run
from interp_registry.config_io import encode, fields_of
from interp_registry.config_io.schema import MISSING, choice_root, element_choice_root
from interp_registry.discovery import discover

LONGEST_SECONDS = 5.0


def stages():
    return [(method, stage) for method in discover().methods.values() for stage in method.stages]


def dotted(stage):
    """Every path of a stage's configuration, those of all choices included."""
    paths = []
    for schema in fields_of(stage.config_type).values():
        paths.append(schema.name)
        root = choice_root(schema.annotation) or element_choice_root(schema.annotation)
        for name in [] if root is None else root.get_known_choices():
            paths += [f"{schema.name}.{inner}" for inner in fields_of(root.get_choice_class(name))]
    return sorted(set(paths))


VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "-1", "1e400", "nan", "true", "none", "0..9", "[1,2", "{a: 1}", "a,b", "*", "../..", "é", "!!x"]
    ),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=12),
    st.integers().map(str),
    st.floats().map(str),
)


@st.composite
def command_lines(draw):
    method, stage = draw(st.sampled_from(stages()))
    words = [method.name] if len(method.stages) == 1 else [method.name, stage.name]
    for _ in range(draw(st.integers(0, 4))):
        path = mutated(draw, draw(st.sampled_from(dotted(stage))))
        form = draw(st.integers(0, 4))
        value = draw(VALUES)
        words += [[f"--{path}={value}"], [f"--{path}", value], [f"--no-{path}"], ["--set", f"{path}={value}"], [value]][
            form
        ]
    return words


def mutated(draw, text):
    """The text as it is, or with a character dropped, doubled, swapped or replaced."""
    kind = draw(st.integers(0, 6))
    if kind > 3 or not text:
        return text
    at = draw(st.integers(0, len(text) - 1))
    return [text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:], text[:at] + "-" + text[at:], text + ".x"][
        kind
    ]


def outcome(words):
    """Exit code, what was printed, and the time it took; nothing is run: the configuration is explained."""
    out, err = io.StringIO(), io.StringIO()
    start = time.perf_counter()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*words, "--explain-config"] if "--" not in words else words)
    return code, err.getvalue(), time.perf_counter() - start


def check(words):
    code, err, seconds = outcome(words)
    assert code in (0, 2), (code, err)
    assert "Traceback" not in err
    assert "defect" not in err
    assert code == 0 or err.startswith("error "), err
    assert seconds < LONGEST_SECONDS


def try_all(n, strategy, function):
    """Call a function with ``n`` values of a strategy."""
    chosen = settings(max_examples=n, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    chosen(given(strategy)(function))()


@pytest.mark.parametrize("n", counts(150, 1000))
def test_a_mutated_command_line_is_read_or_refused(n):
    try_all(n, command_lines(), check)


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("", ["spd", "pretrain", "--target.x=", "--target=-1"]),
        ("metric: cka", ["align", "lm-d32", "lm-d64", "--metric.0.topk=3"]),
        ("metric: 5", ["align", "lm-d32", "lm-d64", "--metric.topk=3"]),
        ("base: 5", ["extract", "lm-d32"]),
        ("training: 5", ["clip", "train", "--training.steps=3"]),
    ],
)
def test_what_mutations_found_is_refused(file, options, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(file)
    check([*options, "-c", str(path)])


def yaml_texts():
    scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
    return st.recursive(
        scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(VALUES, inner, max_size=3))
    )


@st.composite
def files(draw):
    import yaml

    method, stage = draw(st.sampled_from(stages()))
    content = {
        s.name: encode(s.default, s.annotation)
        for s in fields_of(stage.config_type).values()
        if s.default is not MISSING and draw(st.booleans())
    }
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(dotted(stage))).split(".")[0]
        content[mutated(draw, name)] = draw(yaml_texts())
    text = yaml.safe_dump(content)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.sampled_from([":", "-", "\t", "[", "&a", "*a", "!!int", "\n", "'", "#", "\0", "é"]))
            + text[at:]
        )
    words = [method.name] if len(method.stages) == 1 else [method.name, stage.name]
    return words, text


@pytest.mark.parametrize("n", counts(100, 1000))
def test_a_mutated_file_is_read_or_refused(n, tmp_path):
    def check_file(case):
        words, text = case
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        check([*words, "-c", str(path)])

    try_all(n, files(), check_file)
