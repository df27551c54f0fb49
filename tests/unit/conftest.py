"""Fixtures of the unit tests: an untrained image-text model and a run's context."""

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """The untrained control of the embedded CLIP."""
    from interp_plugins.models.image_text.loading import load_image_text

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERP_HOME", str(tmp_path_factory.mktemp("home")))
        return load_image_text("clip-bow-init")


@pytest.fixture
def untrained_context(tmp_path):
    """The context of a run in a temporary folder."""
    from interp_registry.contracts.tracker import GuardedTracker
    from interp_registry.events import MemorySink

    def artifact(name):
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    run = SimpleNamespace(path=tmp_path / "run", artifact=artifact, checkpoints=tmp_path / "run" / "checkpoints")
    return SimpleNamespace(
        run=run,
        seed=0,
        device="cpu",
        cache=tmp_path / "cache",
        events=MemorySink(),
        tracker=GuardedTracker(),
        stopping=False,
        is_main=True,
    )
