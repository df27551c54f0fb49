"""A world of a few scenes, for tests that start a training."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from interp_plugins.embedded.world import grammar, sampling


def shrink_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training sets have 60 scenes in place of 12,000."""
    small = MappingProxyType({**sampling.SPLITS, "train": replace(sampling.SPLITS["train"], size=60)})
    monkeypatch.setattr(sampling, "SPLITS", small)
    monkeypatch.setattr(grammar, "SPLITS", small)
