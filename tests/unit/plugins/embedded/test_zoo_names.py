"""The zoo's catalog: names, recipes, folders and untrained controls."""

import dataclasses
import errno
import json
import os

import pytest

from interp_plugins.embedded import zoo
from interp_registry.errors import ResourceError, UnknownNameError


def test_models_of_one_modality_and_objective_are_trained_on_equal_numbers_of_samples():
    for modality in ("language", "vision"):
        assert len({one.steps * one.batch for one in zoo.RECIPES.values() if one.modality == modality}) == 1


def test_there_are_four_sizes_of_language_and_vision_models_a_self_supervised_one_and_two_clips():
    assert zoo.names("language") == ["lm-d32", "lm-d64", "lm-d96", "lm-d128"]
    assert zoo.names("vision") == ["vit-d32", "vit-d64", "vit-d96", "vit-d128", "vit-d64-simclr"]
    assert zoo.names("clip") == ["clip-bow", "clip-comp"]
    assert zoo.names("vision", untrained=True) == ["vit-d32-init", "vit-d64-init", "vit-d96-init", "vit-d128-init"]


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="lm-d64"):
        zoo.folder("lm-d46")


def test_a_model_without_an_untrained_control_of_its_own_says_so():
    with pytest.raises(UnknownNameError):
        zoo.folder("clip-comp-init")


def test_the_recipe_hash_changes_with_what_changes_the_weights_only():
    recipe = zoo.recipe("lm-d64")
    assert recipe.digest() == dataclasses.replace(recipe, expected_seconds=1).digest()
    changed = [{"steps": 5}, {"seed": 1}, {"peak_rate": 1.0}, {"width": 32}]
    assert len({recipe.digest(), *(dataclasses.replace(recipe, **change).digest() for change in changed)}) == 5


def test_an_untrained_control_is_made_once_in_the_cache_and_is_the_same_every_time(tmp_path):
    first, second = zoo.folder("vit-d32-init", tmp_path / "a"), zoo.folder("vit-d32-init", tmp_path / "b")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    before = (first / "model.safetensors").stat().st_mtime_ns
    assert zoo.folder("vit-d32-init", tmp_path / "a") == first
    assert (first / "model.safetensors").stat().st_mtime_ns == before
    assert [path.name for path in (tmp_path / "a").iterdir()] == [first.name]


def test_an_untrained_control_has_the_configuration_of_its_trained_model(tmp_path):
    control = json.loads((zoo.folder("lm-d64-init", tmp_path) / "config.json").read_text())
    trained = json.loads((zoo.folder("lm-d64") / "config.json").read_text())
    assert control | {"transformers_version": ""} == trained | {"transformers_version": ""}


def test_a_control_that_cannot_be_written_leaves_only_what_the_garbage_collector_knows(tmp_path, monkeypatch):
    from interp_plugins.embedded.zoo import folders

    begun = []

    def full(model, recipe, folder):
        (folder / "half").touch()
        begun.extend(path.name for path in tmp_path.iterdir())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders, "_write_files", full)
    with pytest.raises(ResourceError, match="No space left"):
        zoo.folder("vit-d32-init", tmp_path)
    assert [name.endswith(".tmp") for name in begun] == [True]
    assert list(tmp_path.iterdir()) == []
