"""A world of a few scenes and a zoo of short recipes, for tests that start a training."""

from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest

from interp_plugins.embedded import stages
from interp_plugins.embedded.world import grammar, sampling
from interp_plugins.embedded.zoo import language, measuring, training, verifying
from interp_registry.training.config import TrainingConfig


def shrink_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training sets have 60 scenes in place of 12,000."""
    small = MappingProxyType({**sampling.SPLITS, "train": replace(sampling.SPLITS["train"], size=60)})
    monkeypatch.setattr(sampling, "SPLITS", small)
    monkeypatch.setattr(grammar, "SPLITS", small)


def shrink_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``zoo build`` train ``lm-d32`` for 24 steps with a checkpoint every four, and ``zoo verify`` measure 32 scenes."""
    short = replace(stages.RECIPES["lm-d32"], steps=24, batch=8, warmup=2)
    monkeypatch.setattr(stages, "RECIPES", {**stages.RECIPES, "lm-d32": short})
    whole = training.training_config

    def often(*arguments: Any) -> TrainingConfig:
        return replace(whole(*arguments), log_every=1, checkpoint_every=4)

    monkeypatch.setattr(training, "training_config", often)
    monkeypatch.setattr(language, "captions", partial(language.captions, start=0, stop=60))
    monkeypatch.setattr(stages, "EvaluationData", partial(measuring.EvaluationData, 32))
    for module in (measuring, verifying):
        monkeypatch.setattr(module, "twins", partial(module.twins, stop=8))
