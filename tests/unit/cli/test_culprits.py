"""Names that a plugin would have given are not called unknown without a word about the plugin that failed."""

import pytest

from interp_cli import culprits
from interp_cli.__main__ import run
from interp_registry.errors import UnknownNameError


@pytest.fixture
def one_failed(monkeypatch):
    """A plugin that could not be loaded."""
    failed = type("Info", (), {"name": "my-metric"})()
    monkeypatch.setattr(culprits, "discover", lambda: type("Found", (), {"failed": (failed,)}))


def test_an_unknown_name_that_plugins_give_names_those_that_failed(one_failed, capsys):
    assert run(["algin"]) == 2
    said = capsys.readouterr().err
    assert "?; my-metric could not be loaded: interp plugins list" in said


@pytest.mark.parametrize(("kind", "told"), [("metric type", True), ("language model", True), ("option", False)])
def test_only_names_that_plugins_give_can_be_theirs(one_failed, kind, told):
    assert (culprits.left_out(UnknownNameError(kind, "x", ["y"])) is not None) == told


def test_nothing_is_said_where_every_plugin_was_loaded():
    assert culprits.left_out(UnknownNameError("metric type", "x", ["y"])) is None
