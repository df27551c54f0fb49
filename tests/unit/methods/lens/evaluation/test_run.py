"""``interp lens eval`` on a stored lens and on methods that need no training, over a dump of a tiny model."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from evaluation_lenses import LogitLens

from interp_plugins.methods.lens.choices import LensConfig
from interp_plugins.methods.lens.config import LensTrainConfig
from interp_plugins.methods.lens.evaluation.config import EvalConfig
from interp_plugins.methods.lens.evaluation.run import run
from interp_plugins.methods.lens.train import run as train
from interp_registry.errors import ConfigError, UsageError
from interp_registry.testing import FakeContext
from interp_registry.training.config import TrainingConfig


@dataclass
class PlainLogitConfig(LensConfig):
    """A logit lens at every dumped layer."""

    impl: ClassVar[str] = "evaluation_lenses:LogitLens"

    def build(self, model, dump):
        return LogitLens(model, dump.layers)


@dataclass
class BrokenConfig(LensConfig):
    """A lens that cannot read out."""

    impl: ClassVar[str] = "evaluation_lenses:LogitLens"

    def build(self, model, dump):
        class Broken(LogitLens):
            def readout(self, activations, layer):
                raise ValueError("no head")

        return Broken(model, dump.layers)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Lenses of plugins: ``constant`` is trained, ``plain`` is not, ``broken`` fails."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    from fake_lens import ConstantLensConfig

    added = {"constant": ConstantLensConfig, "plain": PlainLogitConfig, "broken": BrokenConfig}
    for name, config in added.items():
        monkeypatch.setitem(LensConfig.get_known_choices(), name, config)
    yield
    sys.modules.pop("fake_lens", None)


@pytest.fixture
def trained(model_folder, corpus, tmp_path):
    """A context whose run has trained the constant lens at layers 1 and 3."""
    context = FakeContext(tmp_path)
    settings = {"dataset": str(corpus), "layers": "1,3", "positions": "all,min:1"}
    config = LensTrainConfig(
        method=LensConfig.get_choice_class("constant")(),
        model=str(model_folder),
        training=TrainingConfig(steps=100),
        **settings,
    )
    train(config, context)
    return context, settings, str(context.run.path)


def test_a_trained_lens_and_a_method_are_evaluated_at_the_layers_where_they_work(trained):
    context, settings, folder = trained
    found = run(EvalConfig(lens=[folder, "plain"], rows=12, samples=2, **settings), context)
    assert [layer["layer"] for layer in found.data["layers"]] == [1, 3]
    first, second = found.data["layers"]
    assert "constant" in first["swaps"]
    assert "constant" not in second["swaps"]
    assert first["swaps"]["baselines"]["identity"]["kl"][0] == 0.0
    assert abs(first["swaps"]["constant"]["reconstruction"]["fve"][0]) < 1
    assert found.failures == []
    titles = [table.title for table in found.tables]
    assert any(title.startswith("Layer 1") for title in titles)
    assert context.events.events


def test_one_broken_lens_of_two_makes_a_failure_and_the_other_goes_on(trained):
    context, settings, folder = trained
    found = run(EvalConfig(lens=[folder, "broken"], rows=12, **(settings | {"layers": "1"})), context)
    assert [failure.item for failure in found.failures] == ["broken at layer 1"]
    assert "constant" in found.data["layers"][0]["swaps"]


def test_wrong_usage_is_said(trained):
    context, settings, folder = trained
    with pytest.raises(UsageError, match="is no lens"):
        run(EvalConfig(lens=["nothing"], **settings), context)
    with pytest.raises(UsageError, match="no lens works"):
        run(EvalConfig(lens=[folder], **(settings | {"layers": "3"})), context)
    with pytest.raises(ConfigError, match="not parts of the suite"):
        EvalConfig(lens=[folder], suite=["kl"])
