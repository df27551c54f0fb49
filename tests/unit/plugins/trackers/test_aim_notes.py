"""Aim's identity of a run is noted whole or not at all: half of one would be taken for another run's."""

import errno
import os
import sys
from types import SimpleNamespace

import pytest

from interp_plugins.trackers.aim import AimTracker, known_hash
from interp_plugins.trackers.config import AimConfig
from interp_registry.contracts.tracker import TrackedRun
from interp_registry.errors import ResourceError


class AimRun(dict):
    """Stands in for the SDK's run."""

    hash = "0123abcd"


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A repository of the SDK, which is not imported."""
    (tmp_path / ".aim").mkdir()
    sdk = SimpleNamespace(Repo=SimpleNamespace(from_path=lambda *_, **__: None), Run=lambda **_: AimRun())
    monkeypatch.setitem(sys.modules, "aim", sdk)
    return tmp_path


def test_on_a_full_disk_nothing_is_noted(repo, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = TrackedRun("r", "demo", repo)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left"):
        AimTracker(AimConfig(repo=repo)).start(run)
    assert known_hash(repo, "r") is None
    monkeypatch.undo()
    assert list((repo / ".aim" / "interp-runs").iterdir()) == []


def test_a_run_is_known_again(repo):
    AimTracker(AimConfig(repo=repo)).start(TrackedRun("r", "demo", repo))
    assert known_hash(repo, "r") == "0123abcd"
