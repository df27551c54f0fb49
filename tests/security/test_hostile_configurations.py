"""Configuration files that nobody would write: each is refused in one message, soon, and switches nothing on."""

from pathlib import Path

import pytest

from interp_cli.__main__ import run as interp
from interp_cli.stage_run import resolve_stage
from interp_registry.config_io import read_layers
from interp_registry.contracts.method import Stage
from interp_registry.discovery import discover
from interp_registry.errors import ConfigError, UsageError
from interp_registry.stores.home import layout
from interp_registry.stores.run import RunStore

REFUSED = {
    "a key that is a set": ("? !!set {a: }\n: 1\n", "tag:yaml.org,2002:set"),
    "a number without digits": ('limit: !!int ""\n', "not valid YAML"),
    "a fraction without digits": ('limit: !!float ""\n', "not valid YAML"),
    "a word for a truth": ("limit: !!bool x\n", "not valid YAML"),
    "a word for a time": ("limit: !!timestamp x\n", "not valid YAML"),
    "a number in base 60 that takes minutes": ("limit: 1" + ":10" * 300_000, "a number of 900001 characters"),
    "a base that is a number": ("base: 3\n", "no path relative"),
    "a base that is a mapping": ("base: {a: b}\n", "no path relative"),
    "a base that never ends": (f"base: {'../' * 40}dev/zero\n", "more than 1048576 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_is_refused_in_one_message(tmp_path: Path, name: str):
    text, expected = REFUSED[name]
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_layers(tmp_path / "c.yaml")
    assert expected in str(caught.value)


def test_bases_that_multiply_are_refused_before_they_are_all_read(tmp_path: Path):
    for i in range(15):
        (tmp_path / f"{i}.yaml").write_text(f"base: [{', '.join([f'{i + 1}.yaml'] * 6)}]\n")
    (tmp_path / "15.yaml").write_text("limit: 3\n")
    with pytest.raises(UsageError, match="more than 256 bases"):
        read_layers(tmp_path / "0.yaml")


def extraction() -> Stage:
    stage = discover().methods["extract"].default_stage
    assert stage is not None
    return stage


@pytest.mark.parametrize("text", ["model: {trust_remote_code: true}", "model: {trust_remote_code: 'yes'}"])
def test_a_file_cannot_ask_to_run_the_code_of_a_model(tmp_path: Path, text: str):
    (tmp_path / "received.yaml").write_text("base: harmless.yaml\n")
    (tmp_path / "harmless.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"harmless.yaml asks for it, which only a command line may") as caught:
        resolve_stage(extraction(), ["lm-d32", "-c", str(tmp_path / "received.yaml")])
    assert caught.value.hint == "if you trust it, add --trust-remote-code"


def test_the_command_line_can_and_a_file_may_say_no(tmp_path: Path):
    (tmp_path / "no.yaml").write_text("model: {trust_remote_code: false}")
    said = [[], ["--trust-remote-code"], ["--model.trust-remote-code=true"], ["--set", "model.trust_remote_code=true"]]
    trusted = [
        resolve_stage(extraction(), ["lm-d32", "-c", str(tmp_path / "no.yaml"), *words])[0].config.model
        for words in said
    ]
    assert [options.trust_remote_code for options in trusted] == [False, True, True, True]


def test_a_sweep_file_cannot_ask_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "s.yaml").write_text("global:\n  model:\n    trust_remote_code:\n      values: [true]\n")
    assert interp(["extract", "lm-d32", "--sweep", str(tmp_path / "s.yaml"), "--dry-run"]) == 2
    assert "only a command line may say it, no sweep file" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["rerun", "resume"])
def test_a_run_that_came_from_elsewhere_cannot_ask_for_it_nor_say_where_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
):
    elsewhere = tmp_path / "elsewhere"
    config = {"models": ["lm-d32"], "model": {"trust_remote_code": True}, "limit": 2}
    details = {"options": {"out": str(elsewhere), "report": False, "progress": "none"}}
    run = RunStore(layout().runs).create("extract", config, argv=["interp", "extract", "lm-d32"], details=details)
    run.fail("")
    assert interp(["runs", command, run.id]) == 2
    assert "only a command line may" in capsys.readouterr().err
    assert interp(["runs", command, run.id, "--trust-remote-code"]) == 0
    assert not elsewhere.exists()
    assert layout().store.is_dir()


@pytest.mark.slow
def test_a_run_in_another_home_goes_on_there(tmp_path: Path):
    other = layout(tmp_path / "other")
    run = RunStore(other.runs).create("extract", {"models": ["lm-d32"], "limit": 2}, argv=["interp", "extract"])
    assert interp(["runs", "rerun", str(run.path)]) == 0
    assert other.store.is_dir()
    assert not layout().store.exists()
