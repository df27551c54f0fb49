"""``interp lens train`` with a lens of a third party: dumped where needed, trained, stored, read back, resumed."""

import sys
from pathlib import Path

import pytest
import torch

from interp_plugins.methods.lens.choices import LensConfig
from interp_plugins.methods.lens.config import LensTrainConfig
from interp_plugins.methods.lens.contract import Lens, Reconstructs, Trains
from interp_plugins.methods.lens.stored import load_lens
from interp_plugins.methods.lens.train import run
from interp_plugins.models.resolve import load_model
from interp_registry.errors import CorruptError, UsageError
from interp_registry.testing import FakeContext
from interp_registry.training.config import TrainingConfig


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """A plugin's lens, registered under the name ``constant``."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    from fake_lens import ConstantLensConfig

    monkeypatch.setitem(LensConfig.get_known_choices(), "constant", ConstantLensConfig)
    yield
    sys.modules.pop("fake_lens", None)


@pytest.fixture
def config(model_folder, corpus):
    from fake_lens import ConstantLensConfig

    return LensTrainConfig(
        method=ConstantLensConfig(lr=0.1),
        model=str(model_folder),
        dataset=str(corpus),
        layers="2,4",
        training=TrainingConfig(steps=60, log_every=1, checkpoint_every=10),
    )


def trace(ctx):
    return {
        (event.step, event.name): event.value
        for event in ctx.events.events
        if getattr(event, "name", "") == "train/loss"
    }


def test_a_strangers_lens_is_trained_stored_and_read_back(config, tmp_path):
    ctx = FakeContext(tmp_path)
    result = run(config, ctx)
    assert result.scalars["dumped"] == "dumped"
    model = load_model(config.model)
    stored = load_lens(ctx.run.path, model)
    assert isinstance(stored.lens, Lens)
    assert isinstance(stored.lens, Reconstructs)
    assert isinstance(stored.lens, Trains)
    mean = stored.outline.statistics(2).mean
    assert torch.dist(stored.lens.reconstruct(torch.zeros(1, 32), 2)[0], mean) < 0.5 * mean.norm()
    assert stored.record["method"] == "constant"
    assert stored.record["config"]["lr"] == 0.1
    assert stored.record["layers"] == [2]
    assert run(config, FakeContext(tmp_path, 0)).scalars["dumped"] == "present"


def test_a_training_goes_on_from_its_checkpoint_to_the_same_losses(config, tmp_path):
    whole = FakeContext(tmp_path / "whole")
    run(config, whole)
    stopped = FakeContext(tmp_path / "stopped")
    config.training.steps = 20
    run(config, stopped)
    config.training.steps = 60
    run(config, stopped)
    assert len(trace(whole)) == 60
    assert trace(stopped) == trace(whole)


def test_a_lens_of_another_model_and_a_damaged_file_are_refused(config, tmp_path, llama):
    ctx = FakeContext(tmp_path)
    run(config, ctx)
    with pytest.raises(UsageError, match="revision"):
        load_lens(ctx.run.path, llama)
    with pytest.raises(UsageError, match="is no lens"):
        load_lens(tmp_path, llama)
    file = ctx.run.path / "lens" / "lens.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(CorruptError):
        load_lens(ctx.run.path, load_model(config.model))


def test_training_on_a_stored_dump_of_another_model_is_refused(config, tmp_path):
    ctx = FakeContext(tmp_path)
    key = run(config, ctx).scalars["dump"]
    config.dump = key
    assert run(config, ctx).scalars["dumped"] == "present"
    config.model = "lm-d64"
    with pytest.raises(UsageError, match="not of lm-d64"):
        run(config, ctx)
