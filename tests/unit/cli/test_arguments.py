import sys
from dataclasses import dataclass, field
from types import SimpleNamespace

import draccus
import pytest

from interp_cli.completion import complete
from interp_cli.stage_run import resolve_stage
from interp_registry.contracts.method import Stage
from interp_registry.errors import UsageError


@dataclass
class Shape(draccus.ChoiceRegistry):
    big: bool = False


@dataclass
class Round(Shape):
    radius: float = 1.0
    """of the circle"""


@dataclass
class Square(Shape):
    side: int = 2


Shape.register_subclass("round", Round)
Shape.register_subclass("square", Square)


@dataclass
class Config:
    name: str = field(metadata={"positional": True})
    items: list[str] = field(default_factory=list, metadata={"positional": True})
    shape: Shape = field(default_factory=Round)
    batch_size: int = field(default=4, metadata={"flags": ("-b",)})
    layers: list[int] = field(default_factory=list)
    fast: bool = True
    colour: list[str] = field(default_factory=list, metadata={"complete": "test_colours:names"})
    metric: str = field(default="", metadata={"complete": "metric"})


STAGE = Stage(
    "draw",
    "draw it",
    Config,
    "json:loads",
    flags={"radius": "shape.radius"},
    legacy_flags={"--bs": "--batch-size", "--cpu": "--device=cpu", "-e": "--items"},
)


def read(*words):
    resolved, options = resolve_stage(STAGE, words)
    return resolved.config, options


def test_words_fill_the_positional_fields_and_a_list_takes_the_rest():
    config, _ = read("n", "a,b", "c")
    assert config.name == "n"
    assert config.items == ["a,b", "c"]


@pytest.mark.parametrize(
    ("words", "attribute", "value"),
    [
        (["--batch-size", "8"], "batch_size", 8),
        (["--batch_size=8"], "batch_size", 8),
        (["-b", "8"], "batch_size", 8),
        (["--bs", "8"], "batch_size", 8),
        (["--set", "batch_size=8"], "batch_size", 8),
        (["--set", "layers=1,2"], "layers", [1, 2]),
        (["--set", "shape={type: square, side: 3}"], "shape", Square(side=3)),
        (["--no-fast"], "fast", False),
        (["--shape.side=3", "--shape", "square"], "shape", Square(side=3)),
        (["--shape", "square", "--shape.big"], "shape", Square(big=True)),
        (["--radius", "-2.5"], "shape", Round(radius=-2.5)),
        (["--layers", "1", "--layers", "2,3"], "layers", [1, 2, 3]),
    ],
)
def test_every_spelling_of_an_option_reaches_its_field(words, attribute, value):
    config, _ = read("n", *words)
    assert getattr(config, attribute) == value


def test_options_of_every_stage_are_read_beside_its_own():
    _, options = read("n", "--seed", "3", "--device", "cpu", "--json", "-q", "--sweep", "--dry-run")
    assert (options.seed, options.device, options.json, options.quiet) == (3, "cpu", True, True)
    assert (options.sweep, options.dry_run) == ("default", True)


def test_a_sweep_takes_a_yaml_file_but_no_other_word():
    assert read("--sweep", "s.yaml", "n")[1].sweep == "s.yaml"
    config, options = read("--sweep", "n")
    assert (config.name, options.sweep) == ("n", "default")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["n", "--batchsize", "3"], "did you mean --batch-size"),
        (["n", "--shape.sid=3", "--shape=square"], "did you mean shape.side"),
        (["n", "--batch-size"], "a value is missing after --batch-size"),
        (["n", "--no-fast=1"], "takes no value"),
        (["n", "--set", "x"], "no KEY=VALUE"),
        ([], "give NAME"),
        (["n", "--seed", "x"], "no whole number"),
    ],
)
def test_wrong_use_is_one_message_with_a_suggestion(words, expected):
    with pytest.raises(UsageError) as caught:
        read(*words)
    assert expected in str(caught.value)


def test_too_many_words_are_refused():
    @dataclass
    class One:
        name: str = field(metadata={"positional": True})

    with pytest.raises(UsageError, match="unexpected argument 'b'"):
        resolve_stage(Stage("x", "x", One, "json:loads"), ["a", "b"])


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "--sha", {"--shape"}),
        (["--shape"], "", {"round", "square"}),
        (["--shape"], "sq", {"square"}),
        ([], "--shape=sq", {"--shape=square"}),
        (["--shape", "="], "sq", {"square"}),
        (["--shape", "square"], "--shape.", {"--shape.type", "--shape.big", "--shape.side"}),
        ([], "--shape.rad", {"--shape.radius"}),
        (["--shape.big"], "", set()),
        ([], "--progress=pl", {"--progress=plain"}),
        (["--nonsense"], "--se", {"--set", "--seed"}),
    ],
)
def test_completion_offers_options_fields_and_values(words, incomplete, expected):
    assert {value for value, _ in complete(STAGE, words, incomplete)} == expected


def test_completion_asks_where_a_field_says_names_are_found(monkeypatch):
    monkeypatch.setitem(sys.modules, "test_colours", SimpleNamespace(names=lambda: ["red", "green", "grey"]))
    assert {value for value, _ in complete(STAGE, ["--colour"], "red,gr")} == {"red,green", "red,grey"}
    assert {value for value, _ in complete(STAGE, [], "--metric=mut")} == {"--metric=mutual_knn"}


def test_spellings_of_an_earlier_tool_mean_what_they_meant():
    config, options = read("n", "--bs", "8", "--cpu", "-e", "a,b")
    assert (config.batch_size, options.device, config.items) == (8, "cpu", ["a", "b"])
    assert read("n", "--bs=9")[0].batch_size == 9
    with pytest.raises(UsageError, match="--cpu takes no value"):
        read("n", "--cpu=1")
