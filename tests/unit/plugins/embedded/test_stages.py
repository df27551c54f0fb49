"""The stages `interp zoo build` and `interp zoo verify`, and the contracts of what the plugin registers."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from interp_plugins.embedded import plugin, stages
from interp_plugins.embedded.config import ShapesConfig, ShapesTwinsConfig, ZooBuildConfig, ZooVerifyConfig
from interp_plugins.embedded.zoo import RECIPES, names
from interp_plugins.embedded.zoo.manifest import read_manifest
from interp_registry.errors import ConfigError, UnknownNameError, UsageError
from interp_registry.events import Message
from interp_registry.testing import FakeContext, check_dataset, check_method

TINY = replace(RECIPES["lm-d32"], steps=3, batch=4, warmup=2, expected_seconds=90)


@pytest.fixture
def tiny_recipes(small_world, monkeypatch):
    monkeypatch.setattr(stages, "RECIPES", MappingProxyType({"lm-d32": TINY, "other": replace(TINY, name="other")}))


def test_the_method_and_the_data_sets_keep_their_contracts():
    (method,) = plugin.methods()
    check_method(method)
    check_dataset(ShapesConfig(limit=20).build())
    check_dataset(ShapesTwinsConfig(limit=6).build())


def test_a_build_says_how_long_it_takes_before_it_starts(tiny_recipes, tmp_path):
    ctx = FakeContext(tmp_path)
    stages.build(ZooBuildConfig(only=["lm-d32"]), ctx)
    first = ctx.events.events[0]
    assert isinstance(first, Message)
    assert "lm-d32 takes" in first.text
    assert "2 min" in first.text


def test_a_build_trains_what_is_named_and_reports_it(tiny_recipes, tmp_path):
    ctx = FakeContext(tmp_path)
    result = stages.build(ZooBuildConfig(only=["lm-d32"]), ctx)
    assert result.scalars["models"] == 1
    assert [path.name for path in result.artifacts] == ["lm-d32", "manifest.json"]
    assert all(path.exists() for path in result.artifacts)
    assert list(read_manifest(result.artifacts[0].parent)) == ["lm-d32"]


def test_training_seeds_give_models_of_their_own(tiny_recipes, tmp_path):
    result = stages.build(ZooBuildConfig(only=["other"], training_seeds=[1, 2]), FakeContext(tmp_path))
    assert [path.name for path in result.artifacts[:-1]] == ["other-seed1", "other-seed2"]
    weights = [(path / "model.safetensors").read_bytes() for path in result.artifacts[:-1]]
    assert weights[0] != weights[1]


def test_an_unknown_model_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(UnknownNameError, match="lm-d32"):
        stages.build(ZooBuildConfig(only=["lm-d23"]), FakeContext(tmp_path))


def test_a_second_process_is_refused(tmp_path):
    ctx = FakeContext(tmp_path)
    ctx.is_main = False
    with pytest.raises(UsageError, match="by one process"):
        stages.build(ZooBuildConfig(only=["lm-d32"]), ctx)


def test_the_estimate_grows_with_what_is_asked_for(tmp_path):
    ctx = FakeContext(tmp_path)
    whole = stages.estimate_build(ZooBuildConfig(), ctx)
    one = stages.estimate_build(ZooBuildConfig(only=["lm-d32"]), ctx)
    assert 0 < one.seconds < whole.seconds
    assert 0 < one.disk_bytes < whole.disk_bytes
    assert 15 * 60 < whole.seconds < 45 * 60
    assert stages.estimate_verify(ZooVerifyConfig(), ctx).seconds > 0


def test_verifying_an_unfinished_zoo_names_what_is_missing(tmp_path):
    (tmp_path / "lm-d32").mkdir()
    with pytest.raises(ConfigError, match="lm-d64") as caught:
        stages.verify(ZooVerifyConfig(weights=tmp_path), FakeContext(tmp_path / "home"))
    assert "lm-d32," not in caught.value.message


def test_a_missed_threshold_is_a_failure_and_every_pair_is_shown(zoo_that_passes, monkeypatch, tmp_path):
    fabricated = replace(zoo_that_passes, n_bytes=16_000_000)
    monkeypatch.setattr(stages, "measure", lambda *args: fabricated)
    monkeypatch.setattr(stages, "check_files", lambda weights: None)
    for name in names():
        (tmp_path / "weights" / name).mkdir(parents=True)
    result = stages.verify(ZooVerifyConfig(weights=tmp_path / "weights"), FakeContext(tmp_path))
    assert result.scalars["missed"] == len(result.failures) == 1
    assert "size of the zoo" in result.failures[0].item
    assert "15" in result.failures[0].message
    assert len(result.tables[1].rows) == 8 * 9
    assert len(result.figures[0].values) == 8
    assert result.to_json()["tables"]
