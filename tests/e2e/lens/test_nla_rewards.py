"""GRPO on an embedded model raises the reward that its warm start ends with."""

import pytest

from interp_plugins.methods.lens.config import LensTrainConfig
from interp_plugins.methods.lens.nla.config import NlaConfig
from interp_plugins.methods.lens.train import run
from interp_registry.discovery import discover
from interp_registry.testing import FakeContext
from interp_registry.training.config import TrainingConfig


@pytest.mark.slow
def test_a_hundred_steps_of_grpo_raise_the_reward_over_the_warm_start(tmp_path):
    discover()
    config = LensTrainConfig(
        method=NlaConfig(layer=1, sft_steps=150, max_tokens=10, label_tokens=6, prompts=6, group=6),
        model="lm-d64",
        dataset="shapes:split=train,limit=2500",
        layers="1",
        positions="random:2,min:4",
        training=TrainingConfig(steps=250, clip_norm=1.0, evaluate_every=None, checkpoint_every=None),
    )
    scalars = run(config, FakeContext(tmp_path)).scalars
    assert scalars["reward_gain_low"] > 0, "95 % interval over held-out documents"
    assert scalars["reward"] > scalars["reward_shuffled"] + 0.3, "explanations of other activations do worse"
    assert scalars["parsed"] > 0.8
