import json
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from interp_cli import diagnosis
from interp_cli.__main__ import run


@pytest.fixture
def only(monkeypatch):
    def keep(name):
        check = next(check for check in diagnosis.CHECKS if check.__name__ == f"_{name}")
        monkeypatch.setattr(diagnosis, "CHECKS", (check,))

    return keep


def test_an_unsupported_python_is_an_error_with_advice(only, monkeypatch):
    only("python")
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    (finding,) = diagnosis.examine()
    assert finding.level == "error"
    assert "3.11 or 3.12" in finding.advice


def test_a_missing_and_an_old_package_are_named(only, monkeypatch):
    only("packages")
    monkeypatch.setattr(
        diagnosis, "requires", lambda _: ["no-such-package>=1", "typer>=99", "aim; python_version < '3'"]
    )
    text = diagnosis.examine()[0].text
    assert "no-such-package is missing" in text
    assert "typer" in text
    assert "wanted >=99" in text
    assert "aim" not in text


def test_a_folder_that_cannot_be_written_and_a_full_disk_are_found(only, monkeypatch):
    only("folders")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10 << 20))
    assert {finding.level for finding in diagnosis.examine()} == {"warning"}
    monkeypatch.setattr(diagnosis.os, "access", lambda *_: False)
    assert {finding.level for finding in diagnosis.examine()} == {"error"}


def test_a_package_that_breaks_at_import_is_shown_with_its_last_line(only, monkeypatch):
    only("pairs")
    broken = SimpleNamespace(returncode=1, stderr="Traceback\nImportError: cannot import name 'x'\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: broken)
    assert "cannot import name 'x'" in diagnosis.examine()[0].text


def test_a_hub_that_does_not_answer_is_a_warning(only, monkeypatch):
    only("hub")

    def refuse(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(diagnosis.socket, "create_connection", refuse)
    (finding,) = diagnosis.examine()
    assert finding.level == "warning"
    assert "does not answer" in finding.text


def test_the_hub_is_asked_at_the_address_and_port_of_the_variable(only, monkeypatch):
    only("hub")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}/mirror")
        (finding,) = diagnosis.examine()
    assert finding.level == "ok"
    assert finding.text.startswith(f"127.0.0.1, port {port}, answers")
    assert [finding.level for finding in diagnosis.examine()] == ["warning"]


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("https://huggingface.co", ("huggingface.co", 443)),
        ("http://hub.example.org/hf", ("hub.example.org", 80)),
        ("https://[::1]:8443", ("::1", 8443)),
    ],
)
def test_the_port_is_that_of_the_scheme_unless_the_address_names_one(endpoint, place):
    assert diagnosis._host_and_port(endpoint) == place


@pytest.mark.parametrize("endpoint", ["hub.example.org", "https://", "https://hub:hundred", "ftp://hub"])
def test_an_address_that_is_none_is_an_error_of_the_hub(only, monkeypatch, endpoint):
    only("hub")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    (finding,) = diagnosis.examine()
    assert (finding.topic, finding.level) == ("hub", "error")
    assert repr(endpoint) in finding.text


def test_a_check_that_raises_is_itself_a_finding(monkeypatch):
    def _broken():
        raise RuntimeError("the doctor fell ill")

    monkeypatch.setattr(diagnosis, "CHECKS", (_broken,))
    (finding,) = diagnosis.examine()
    assert finding.level == "error"
    assert "fell ill" in finding.text


def test_the_command_prints_json_and_exits_with_1_on_an_error(only, monkeypatch, capsys):
    only("python")
    assert run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"][0]["topic"] == "python"
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    assert run(["doctor"]) == 1


def test_devices_are_shown_with_what_is_used_on_them_and_by_each_method(only):
    only("hardware")
    *devices, methods = diagnosis.examine()
    assert devices[-1].topic == "cpu"
    assert "weights in float32, attention sdpa" in devices[-1].text
    assert "extract float32" in methods.text
