"""Fixtures for all tests: an own home folder and configuration, and a command line that starts in milliseconds."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiers
from forked_cli import CommandLine, Server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nightly", action="store_true", help="the slow and the nightly tests too, with ten times the counts"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """With ``--nightly``: ten times the counts in ten times the time, and no tier left out unless ``-m`` asks for it."""
    if not config.getoption("--nightly"):
        return
    tiers.nightly = True
    if not any(word.startswith("-m") for word in config.invocation_params.args):
        config.option.markexpr = ""
    if config.option.timeout is None:
        config.option.timeout = float(config.getini("timeout")) * tiers.FACTOR


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What was imported is no garbage."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """In the end it is: some modules complain of what is left."""
    gc.unfreeze()


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
def cli_server() -> Iterator[Server]:
    """A process that has imported everything."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def cli(cli_server: Server, tmp_path: Path) -> Iterator[CommandLine]:
    """``interp`` with a home of the test's own."""
    line = CommandLine(cli_server, tmp_path / "home")
    yield line
    line.end()
