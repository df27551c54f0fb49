from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import draccus
import pytest

from interp_registry.config_io import Override, dump_yaml, fields_of, read_layers, read_yaml, resolve
from interp_registry.config_io.values import from_text
from interp_registry.errors import UsageError


@dataclass
class Animal(draccus.ChoiceRegistry):
    name: str = "?"


@dataclass
class Cat(Animal):
    """A cat."""

    lives: int = 9
    """how many"""


@dataclass
class Dog(Animal):
    loud: bool = False
    lives: int = 1

    @classmethod
    def claim(cls, text: str) -> dict[str, str] | None:
        """Whatever ends like a dog."""
        return {"name": text} if text.endswith(".dog") else None


Animal.register_subclass("cat", Cat)
Animal.register_subclass("dog", Dog)


@dataclass
class Optimiser:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass
class Config:
    words: list[str] = field(metadata={"positional": True})
    """the words"""
    pet: Animal = field(default_factory=lambda: Cat(name="tom", lives=3))
    pets: list[Animal] = field(default_factory=list)
    maybe: Animal | None = None
    optimiser: Optimiser = field(default_factory=lambda: Optimiser(lr=5.0))
    layers: list[int] | None = None
    mode: Literal["fast", "slow"] = "fast"
    text: str = "x"
    path: Path | None = None
    flag: bool = False
    table: dict[str, float] = field(default_factory=dict)


def build(*pairs, layers=()):
    overrides = [Override("words", "a", "WORDS")]
    for pair in pairs:
        key, equals, value = pair.partition("=")
        overrides.append(Override(key, value if equals else None, f"--{key}"))
    return resolve(Config, layers, overrides)


def problem(*pairs, layers=()):
    with pytest.raises(UsageError) as caught:
        build(*pairs, layers=layers)
    return str(caught.value)


def test_a_partial_override_keeps_the_default_factory_of_the_rest():
    config = build("optimiser.betas=1,2", "pet.lives=4").config
    assert config.optimiser == Optimiser(lr=5.0, betas=(1.0, 2.0))
    assert config.pet == Cat(name="tom", lives=4)


def test_another_type_replaces_the_whole_choice_wherever_it_stands_on_the_line():
    assert build("pet.loud", "pet=dog").config.pet == Dog(name="?", loud=True)
    assert build("pet=dog", layers=[("f", {"pet": {"type": "cat", "lives": 2}})]).config.pet == Dog()


def test_later_layers_win_and_every_value_remembers_its_layer():
    resolved = build("optimiser.lr=3", layers=[("low.yaml", {"text": "low"}), ("high.yaml", {"text": "high"})])
    assert resolved.config.text == "high"
    assert resolved.origins["text"] == "high.yaml"
    assert resolved.origins["optimiser.lr"] == "--optimiser.lr"
    assert "mode" not in resolved.origins


@pytest.mark.parametrize(
    "text", ["0123", "1.10", "no", "true", "null-ish", "a #x", "[x]", "@x", "%x", "*x", "include y", "1e3"]
)
def test_strings_stay_as_they_were_typed(text):
    assert build(f"text={text}").config.text == text


@pytest.mark.parametrize(
    ("pair", "attribute", "value"),
    [
        ("layers=0..3,7", "layers", [0, 1, 2, 3, 7]),
        ("layers=[1,2]", "layers", [1, 2]),
        ("layers=none", "layers", None),
        ("layers=1e1,0x10", "layers", [10, 16]),
        ("flag", "flag", True),
        ("flag=off", "flag", False),
        ("path=a/123", "path", Path("a/123")),
        ("mode=slow", "mode", "slow"),
        ("table.a=2", "table", {"a": 2.0}),
    ],
)
def test_values_are_read_by_the_type_of_the_field(pair, attribute, value):
    assert getattr(build(pair).config, attribute) == value


def test_lists_of_choices_take_names_globs_and_fields_of_all_or_of_one():
    assert build("pets=cat,dog", "pets.lives=5").config.pets == [Cat(lives=5), Dog(lives=5)]
    assert build("pets=c*", "pets.0.lives=7").config.pets == [Cat(lives=7)]
    assert build("pets=cat,dog", "pets.loud").config.pets == [Cat(), Dog(loud=True)]


def test_an_optional_choice_can_be_set_and_emptied():
    assert build("maybe=dog", "maybe.loud").config.maybe == Dog(loud=True)
    assert build("maybe=none", layers=[("f", {"maybe": "cat"})]).config.maybe is None


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["txt=1"], "unknown setting 'txt' (--txt) (did you mean text?)"),
        (["pet.livs=1"], "did you mean pet.lives?"),
        (["pet.loud"], "it belongs to pet.type=dog"),
        (["pet=cta"], "unknown pet type 'cta' (--pet) (did you mean cat?)"),
        (["pets=x*"], "known: cat, dog"),
        (["mode=slo"], "did you mean slow?"),
        (["flag=maybe"], "neither true nor false"),
        (["layers=a"], "no whole number"),
        (["optimiser.lr=fast"], "no number"),
        (["text"], "a value is missing after --text"),
        (["text.x=1"], "has no field 'x'"),
        (["layers=1.5"], "no whole number"),
        (["layers=0..99999999999"], "no range"),
        (["maybe.lives=1"], "set maybe.type first"),
        (["pets.lives=1"], "nothing is chosen yet"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(pairs, expected):
    assert expected in problem(*pairs)


def test_several_wrong_settings_are_reported_together():
    message = problem("txt=1", "mode=slo")
    assert "2 settings are wrong" in message
    assert "txt" in message
    assert "slow" in message


def test_a_missing_required_field_says_how_to_give_it():
    with pytest.raises(UsageError, match=r"words is missing.*give WORDS: the words"):
        resolve(Config)


def test_help_is_the_string_below_a_field_inherited_ones_included():
    assert fields_of(Cat)["lives"].help == "how many"
    assert fields_of(Config)["words"].help == "the words"


def test_a_dumped_configuration_reads_back_as_the_same(tmp_path):
    resolved = build("pets=cat,dog", "layers=1,2", "maybe=dog", "text=0123")
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml(draccus.encode(resolved.config)))
    assert resolve(Config, [("again", read_yaml(path))]).config == resolved.config


def test_base_files_lie_below_the_file_that_names_them(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/base.yaml").write_text("text: base\nflag: true\n")
    (tmp_path / "run.yaml").write_text("base: sub/base.yaml\ntext: mine\n")
    assert build(layers=read_layers(tmp_path / "run.yaml")).config.text == "mine"
    assert build(layers=read_layers(tmp_path / "run.yaml")).config.flag is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\n", "'a' occurs twice"),
        ("a: [1\n", "line"),
        ("- 1\n", "holds a list"),
        ("a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("a: !include x.yaml\n", "could not determine a constructor"),
        ("base: /etc/passwd\n", "no path relative"),
        ("base: base.yaml\n", "in a row"),
        ("x: " + "[" * 60 + "]" * 60, "nested more than"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{n}: &{n} [{','.join(['*' + chr(ord(n) - 1)] * 10)}]\n" for n in "bcdefghi"), "too large"),
        ("? [1, 2]\n: 3\n", "a key must be plain text"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_hostile_or_broken_file_is_refused_in_one_line(tmp_path, text, expected):
    path = tmp_path / "base.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_layers(path)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(UsageError, match=r"did you mean config\.yaml"):
        read_yaml(tmp_path / "confg.yaml")


def test_an_unknown_key_in_a_file_names_the_file():
    assert problem(layers=[("run.yaml", {"txt": 1})]) == "unknown setting 'txt' (run.yaml) (did you mean text?)"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"layers": 3}, "layers: 3 is no list"),
        ({"layers": [1, "x"]}, "layers: 'x' is no whole number"),
        ({"flag": "maybe"}, "flag: 'maybe' is neither true nor false"),
        ({"mode": "medium"}, "mode: 'medium' is not one of fast, slow"),
        ({"table": 3}, "table: 3 is no mapping"),
        ({"table": {"a": "x"}}, "table.a: 'x' is no number"),
        ({"optimiser": 3}, "optimiser: 3 is no mapping"),
        ({"optimiser": {"lr": []}}, "optimiser.lr: [] is no number"),
        ({"pet": {"type": "dog", "lives": "nine"}}, "pet.lives: 'nine' is no whole number"),
        ({"pets": ["dog", {"type": "cat", "lives": 1.5}]}, "pets.1.lives: 1.5 is no whole number"),
    ],
)
def test_a_value_of_a_wrong_type_in_a_file_is_named_in_plain_words(layer, message):
    assert problem(layers=[("f", layer)]) == message


def test_a_number_beyond_every_integer_is_refused():
    with pytest.raises(UsageError):
        from_text("1e400", int, "n")


@pytest.mark.parametrize(
    ("text", "pets"),
    [
        ("cat:lives=7", [Cat(lives=7)]),
        ("cat:lives=7,name=x=y,dog", [Cat(lives=7, name="x=y"), Dog()]),
        ("a.dog", [Dog(name="a.dog")]),
        ("a.dog:lives=2,loud=yes,b:c.dog", [Dog(name="a.dog", lives=2, loud=True), Dog(name="b:c.dog")]),
    ],
)
def test_a_choice_is_written_as_a_name_or_as_what_it_claims_with_options_behind_a_colon(text, pets):
    assert build(f"pets={text}").config.pets == pets
    assert build(f"pet={text.partition(',')[0]}").config.pet.lives == pets[0].lives


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat:lifes=7", "unknown setting 'pet.lifes'"),
        ("cat:lives=many", "'many' is no whole number"),
        ("cat:lives", "unknown pet type 'cat:lives'"),
        ("b.fish:lives=2", "unknown pet type 'b.fish:lives=2'"),
    ],
)
def test_wrong_options_behind_a_colon_are_named(text, message):
    assert message in problem(f"pet={text}")
