"""Trackers are started once for a run, however many processes share its work."""

from types import SimpleNamespace

import pytest

from interp_cli.tracking import start_tracker
from interp_plugins.trackers.config import AimConfig
from interp_registry.contracts.tracker import TrackedRun
from interp_registry.discovery import discover
from interp_registry.events import MemorySink
from interp_registry.stores.run import RunStore


@pytest.mark.parametrize(("is_main", "n_started"), [(True, 1), (False, 0)])
def test_the_main_process_alone_starts_trackers(tmp_path, monkeypatch, is_main, n_started):
    discover()
    started: list[TrackedRun] = []
    tracker = SimpleNamespace(start=started.append, close=lambda: None)
    monkeypatch.setattr(AimConfig, "build", lambda _config: tracker)
    run = RunStore(tmp_path).create("demo", {})
    options = SimpleNamespace(tracker=[AimConfig()])
    context = SimpleNamespace(options=options, is_main=is_main, events=MemorySink(), run=run, offline=True)
    start_tracker(context).close()
    assert [each.name for each in started] == [run.id] * n_started
