"""Mutated command lines and configuration files: always one clear message, never a traceback, never a hang."""

import os
from pathlib import Path

import pytest
from hypothesis import strategies as st
from mutations import WORDS, check, mutated_word, plain_values, try_all
from tiers import counts

from interp_registry.config_io import encode, fields_of
from interp_registry.config_io.schema import MISSING, choice_root, element_choice_root
from interp_registry.discovery import discover


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


@st.composite
def command_lines(draw):
    method, stage = draw(st.sampled_from(stages()))
    words = [method.name] if len(method.stages) == 1 else [method.name, stage.name]
    for _ in range(draw(st.integers(0, 4))):
        path = mutated_word(draw, draw(st.sampled_from(dotted(stage))))
        form = draw(st.integers(0, 4))
        value = draw(WORDS)
        words += [[f"--{path}={value}"], [f"--{path}", value], [f"--no-{path}"], ["--set", f"{path}={value}"], [value]][
            form
        ]
    return words


def explain(words):
    """Nothing is run: the configuration is explained."""
    end = words.index("--") if "--" in words else len(words)
    check([*words[:end], "--explain-config", *words[end:]])


@pytest.mark.parametrize("n", counts(150, 1000))
def test_a_mutated_command_line_is_read_or_refused(n):
    try_all(n, command_lines(), explain)


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("", ["spd", "pretrain", "--target.x=", "--target=-1"]),
        ("metric: cka", ["align", "lm-d32", "lm-d64", "--metric.0.topk=3"]),
        ("metric: 5", ["align", "lm-d32", "lm-d64", "--metric.topk=3"]),
        ("base: 5", ["extract", "lm-d32"]),
        ("training: 5", ["clip", "train", "--training.steps=3"]),
        ("seed: 2026-01-01", ["extract", "lm-d32"]),
        ("? !!set {a}\n: 1", ["extract", "lm-d32"]),
        ("", ["spd", "run", "tms_5-2", "--target={a: &a [1], b: [*a" + ", *a" * 20_000 + "]}"]),
        ("", ["spd", "run", "tms_5-2", "--target=" + "[" * 100_000]),
        ("", ["spd", "run", "tms_5-2", "--target=[" + "1" * 5000 + "]"]),
    ],
)
def test_what_mutations_found_is_refused(file, options, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(file)
    explain([*options, "-c", str(path)])


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop", "a very long name"])
def test_a_configuration_that_is_no_file_is_refused_at_once(kind, tmp_path):
    path = {"device": Path("/dev/zero"), "a very long name": tmp_path / ("x" * 5000)}.get(kind, tmp_path / "run.yaml")
    make = {"pipe": os.mkfifo, "folder": Path.mkdir, "loop": lambda path: path.symlink_to(path)}.get(kind, str)
    make(path)
    assert check(["extract", "lm-d32", "-c", str(path)], (2,))


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
        content[mutated_word(draw, name)] = draw(plain_values())
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


@pytest.mark.parametrize("n", counts(100, 500))
def test_a_mutated_file_is_read_or_refused(n, tmp_path):
    def check_file(case):
        words, text = case
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        explain([*words, "-c", str(path)])

    try_all(n, files(), check_file)
