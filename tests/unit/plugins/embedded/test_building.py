"""Building: the loop carries out recipes, resumes exactly, writes folders that ordinary loaders read, and a manifest."""

import json
from dataclasses import replace

import pytest
import timm
import torch
from timm.data import resolve_data_config
from transformers import AutoImageProcessor, AutoModelForCausalLM, AutoTokenizer, CLIPModel

from interp_plugins.embedded.world import render, scenes
from interp_plugins.embedded.zoo import RECIPES, sources
from interp_plugins.embedded.zoo.building import Workshop, build
from interp_plugins.embedded.zoo.folders import write_model
from interp_plugins.embedded.zoo.manifest import check_files, read_manifest
from interp_plugins.embedded.zoo.training import carry_out, initial_model, start, training_config
from interp_registry.errors import CorruptError, InterruptedRunError
from interp_registry.events import MemorySink, Scalar

TINY = replace(RECIPES["lm-d32"], steps=6, batch=4, warmup=2, name="tiny")


def workshop(folder, stop=lambda: False):
    sink = MemorySink()
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    return Workshop(folder / "weights", folder / "checkpoints", sink, stop), sink


def test_the_schedule_warms_up_and_falls_to_its_floor():
    recipe = RECIPES["lm-d64"]
    factor = training_config(recipe).schedule.build(recipe.steps)
    assert factor(0) == pytest.approx(1 / 30, rel=1e-3)
    assert factor(29) == pytest.approx(1.0, abs=0.01)
    assert factor(600) == pytest.approx(0.525, abs=1e-6)
    assert factor(1_199) == pytest.approx(0.05, abs=1e-4)


def test_the_beginning_of_a_recipe_follows_the_whole_schedule():
    recipe = RECIPES["lm-d64"]
    whole = training_config(recipe).schedule.build(recipe.steps)
    beginning = training_config(recipe, 100).schedule.build(100)
    assert [whole(step) for step in range(100)] == [beginning(step) for step in range(100)]


def test_a_build_writes_folder_manifest_and_events(small_world, tmp_path):
    shop, sink = workshop(tmp_path)
    (built,) = build([TINY], shop)
    assert built.folder == tmp_path / "weights" / "tiny"
    entry = read_manifest(tmp_path / "weights")["tiny"]
    assert entry["recipe_hash"] == TINY.digest()
    assert set(entry["files"]) == {path.name for path in built.folder.iterdir()}
    assert entry["metrics"]["last_step"]["loss"] == pytest.approx(built.summary.losses["loss"], abs=1e-4)
    assert {event.name for event in sink.events if isinstance(event, Scalar)} >= {"tiny/train/loss"}
    check_files(tmp_path / "weights")


def test_an_interrupted_build_goes_on_to_the_same_weights(small_world, tmp_path):
    uninterrupted, _ = workshop(tmp_path / "a")
    build([TINY], uninterrupted)
    asked = iter([False, False, True])
    stopping, _ = workshop(tmp_path / "b", lambda: next(asked))
    with pytest.raises(InterruptedRunError, match="interrupted"):
        build([TINY], stopping)
    resumed, _ = workshop(tmp_path / "b")
    build([TINY], resumed)
    files = [tmp_path / one / "weights" / "tiny" / "model.safetensors" for one in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_training_changes_the_loss_and_another_seed_changes_the_weights(small_world):
    recipe = replace(TINY, steps=30, batch=16)
    losses = []
    objective = start(recipe)
    losses.append(objective.losses(0)["loss"].item())
    carry_out(objective)
    losses.append(objective.losses(0)["loss"].item())
    assert losses[1] < losses[0] - 1
    other = start(recipe.with_seed(1))
    assert not torch.equal(other.model.lm_head.weight, start(recipe).model.lm_head.weight)


def test_a_damaged_file_is_named(small_world, tmp_path):
    shop, _ = workshop(tmp_path)
    build([replace(TINY, steps=2)], shop)
    damaged = tmp_path / "weights" / "tiny" / "model.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(bytes(content))
    with pytest.raises(CorruptError, match=r"tiny.model\.safetensors"):
        check_files(tmp_path / "weights")
    damaged.unlink()
    with pytest.raises(CorruptError, match="missing"):
        check_files(tmp_path / "weights")


def test_a_manifest_that_is_none_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(CorruptError, match="no manifest"):
        read_manifest(tmp_path)


def test_a_language_model_folder_is_read_by_the_auto_classes(tmp_path):
    model = initial_model(RECIPES["lm-d32"])
    expected = model.state_dict()["model.layers.0.mlp.up_proj.weight"].clone()
    write_model(model, RECIPES["lm-d32"], tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert torch.equal(loaded.state_dict()["model.layers.0.mlp.up_proj.weight"], expected.half().float())
    ids = AutoTokenizer.from_pretrained(tmp_path)(["a red box", "a tiny blue ring"], padding=True)
    assert ids["input_ids"][0][0] == 1
    assert ids["input_ids"][0][-1] == 0
    assert ids["attention_mask"][0][-1] == 0


def test_a_vision_model_folder_is_read_by_timm_with_the_right_transform(tmp_path):
    model = initial_model(RECIPES["vit-d32"]).eval()
    pixels = sources.normalised(render(scenes("evaluation", 0, 2)))
    with torch.inference_mode():
        expected = model(pixels)
    write_model(model, RECIPES["vit-d32"], tmp_path)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).float().eval()
    with torch.inference_mode():
        assert torch.allclose(loaded(pixels), expected, atol=0.02)
    transform = resolve_data_config(loaded.pretrained_cfg)
    assert (transform["input_size"], transform["mean"], transform["std"]) == ((3, 64, 64), (0.5,) * 3, (0.25,) * 3)


def test_a_clip_folder_is_read_with_tokenizer_and_image_processor(tmp_path):
    write_model(initial_model(RECIPES["clip-bow"]), RECIPES["clip-bow"], tmp_path)
    loaded = CLIPModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert sum(parameter.numel() for parameter in loaded.parameters()) == 763_969
    assert (
        AutoTokenizer.from_pretrained(tmp_path)("a red box")["input_ids"][-1] == loaded.config.text_config.eos_token_id
    )
    picture = render(scenes("evaluation", 0, 1))[0]
    processor = AutoImageProcessor.from_pretrained(tmp_path, use_fast=False)
    pixels = torch.as_tensor(processor(picture, return_tensors="np")["pixel_values"])
    assert torch.allclose(pixels, sources.normalised(picture[None]), atol=1e-5)


def test_the_text_of_a_clip_is_pooled_at_its_end_token(tmp_path):
    model = initial_model(RECIPES["clip-bow"]).eval()
    tokens = torch.tensor([[1, 300, 200, 4, 0, 0], [1, 300, 200, 4, 0, 0]])
    tokens[1, 4:] = torch.tensor([400, 401])
    with torch.inference_mode():
        one, other = model.text_model(input_ids=tokens).pooler_output
    assert torch.allclose(one, other, atol=1e-6)


def test_the_manifest_keeps_the_models_that_are_not_built_again(small_world, tmp_path):
    shop, _ = workshop(tmp_path)
    build([replace(TINY, steps=2)], shop)
    build([replace(TINY, steps=2, name="other")], shop)
    assert list(read_manifest(tmp_path / "weights")) == ["other", "tiny"]
    assert json.loads((tmp_path / "weights" / "manifest.json").read_text())["world_version"] == 1


@pytest.mark.slow
def test_the_beginning_of_the_smallest_recipes_reaches_the_recorded_losses():
    """lm-d32 for 100 steps and vit-d32 for 60, on the whole training set; recorded are 2.23, 21.1 and .51."""
    language = carry_out(start(RECIPES["lm-d32"]), steps=100)
    assert language.losses["loss"] < 2.45
    vision = carry_out(start(RECIPES["vit-d32"]), steps=60)
    assert vision.losses["labels"] < 22.0
    assert vision.losses["patch_colour"] < 0.56
