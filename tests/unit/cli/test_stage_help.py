"""A stage's help page shows every option that can be given, with the default that this stage has."""

import re
from dataclasses import dataclass, field

import draccus
import pytest

from interp_cli.__main__ import run
from interp_cli.stage_help import help_text, stage_help
from interp_registry.contracts.method import Stage


@dataclass
class Kind(draccus.ChoiceRegistry):
    """How."""


@dataclass
class Fast(Kind):
    """Quickly."""

    speed_limit: int = 0
    """in m/s"""


Kind.register_subclass("fast", Fast)


@dataclass
class Schedule:
    shape: str = "flat"


@dataclass
class Training:
    n_steps: int = 1000
    """``n`` updates"""
    schedule: Schedule = field(default_factory=Schedule)
    """rates"""


@dataclass
class Config:
    kind: Kind = field(metadata={"positional": True}, kw_only=True)
    """which"""
    training: Training = field(default_factory=lambda: Training(n_steps=250))
    """how long"""
    extract: bool = True
    """extract first"""


STAGE = Stage("train", "train", Config, lambda config, ctx: None)


def page() -> str:
    return " ".join(help_text("interp train", STAGE).split())


def test_the_fields_of_a_group_of_settings_are_listed_with_the_defaults_of_the_stage():
    text = page()
    assert "--training.FIELD how long [fields below]" in text
    assert "Fields of --training --training.n-steps INT n updates [default: 250]" in text
    assert "--training.schedule.FIELD rates [fields: shape]" in text


def test_a_choice_made_by_its_position_shows_its_options_and_a_default_of_nought():
    from interp_cli.help_pages import page_text

    assert "--kind.speed-limit" not in page()
    shown = page_text(stage_help("interp train", STAGE, {"kind": "fast"}))
    assert "--kind.speed-limit  INT  in m/s [default: 0]" in shown


def test_what_is_on_says_how_to_turn_it_off():
    assert "extract first [default: on; --no-extract turns it off]" in page()


def test_the_method_that_the_line_names_shows_its_options(capsys: pytest.CaptureFixture[str]):
    assert run(["lens", "train", "tuned", "--help"]) == 0
    assert "--method.batch-size" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["runs"]])
def test_a_group_alone_shows_its_page_and_is_no_error(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(words) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(" ".join(["usage interp", *words]))
    assert shown.out == ""


def test_plain_commands_write_kinds_of_values_as_stages_do(capsys: pytest.CaptureFixture[str]):
    assert run(["runs", "list", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(r"(-n, --limit|--limit, -n|-n) +INT How many of the latest. \[default: 50; x>=1\]", shown)
    assert "--state VALUE Only runs in this state. [one of created, running" in shown
