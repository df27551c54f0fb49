"""A small model to train, and a place for its checkpoints."""

from collections.abc import Callable
from pathlib import Path

import pytest
from toy_training import Toy

from interp_registry.stores.checkpoint import CheckpointStore


@pytest.fixture
def toy() -> Callable[..., Toy]:
    return Toy


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")
