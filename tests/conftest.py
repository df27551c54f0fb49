"""Fixtures for all tests: an own home folder and configuration."""

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """Every test has a home, a configuration and a cache of its own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("INTERP_HOME", str(home / "interp"))
    monkeypatch.setenv("INTERP_CONFIG", str(home / "config.yaml"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    return home
