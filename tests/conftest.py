"""Fixtures for all tests: an own home folder and configuration, and a command line that starts in milliseconds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked_cli import SERVER, CommandLine


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """Every test has a home, a configuration and a cache of its own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("INTERP_HOME", str(home / "interp"))
    monkeypatch.setenv("INTERP_CONFIG", str(home / "config.yaml"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    return home


@pytest.fixture(scope="session")
def cli_server() -> Iterator["subprocess.Popen[str]"]:
    """A process that has imported everything."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    server = subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert server.stdout.readline() == "ready\n"
    yield server
    server.stdin.close()
    server.stdout.close()
    server.wait()


@pytest.fixture
def cli(cli_server: "subprocess.Popen[str]", tmp_path: Path) -> CommandLine:
    """``interp`` with a home of the test's own."""
    return CommandLine(cli_server, tmp_path / "home")
