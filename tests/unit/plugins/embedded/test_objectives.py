"""The objectives of the zoo: losses against slow definitions, labels against the scene, and what each may see."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from interp_plugins.embedded.world import render, rendering, scenes, tables
from interp_plugins.embedded.world.grammar import SceneReader
from interp_plugins.embedded.zoo import RECIPES, clip, labels, language, sources, vision

GENERATOR_SEED = 3


def refuse(*args, **kwargs):
    raise AssertionError("this modality must not be touched")


def unit_rows(n: int, d: int) -> torch.Tensor:
    codes = torch.randn(n, d, generator=torch.Generator().manual_seed(GENERATOR_SEED), dtype=torch.float64)
    return functional.normalize(codes, dim=1)


def test_no_picture_is_drawn_to_train_a_language_model(small_world, monkeypatch):
    monkeypatch.setattr(rendering, "_render_chunk", refuse)
    training = language.LanguageTraining(RECIPES["lm-d32"])
    assert math.isfinite(training.losses(0)["loss"].item())


@pytest.mark.parametrize(
    ("name", "build"), [("vit-d32", vision.LabelTraining), ("vit-d64-simclr", vision.SimclrTraining)]
)
def test_no_caption_is_made_to_train_a_vision_model(small_world, monkeypatch, name, build):
    monkeypatch.setattr(SceneReader, "caption", refuse)
    training = build(RECIPES[name])
    assert math.isfinite(training.losses(0)["loss"].item())


def test_self_supervised_training_reads_no_label(small_world, monkeypatch):
    monkeypatch.setattr(vision, "scene_labels", refuse)
    assert vision.SimclrTraining(RECIPES["vit-d64-simclr"]).losses(0)["loss"].item() > 0


def test_the_losses_of_a_step_depend_on_the_step_alone(small_world):
    training = vision.LabelTraining(RECIPES["vit-d32"])
    first = training.losses(4)["loss"].item()
    training.losses(7)
    assert training.losses(4)["loss"].item() == first
    assert training.losses(5)["loss"].item() != first


def test_an_untrained_language_model_is_as_uncertain_as_a_guess(small_world):
    loss = language.LanguageTraining(RECIPES["lm-d32"]).losses(0)["loss"].item()
    assert loss == pytest.approx(math.log(512), rel=0.1)


def test_padding_does_not_change_the_next_token_loss():
    model = language.initial_language_model(RECIPES["lm-d32"])
    tokens = torch.tensor([[1, 50, 60, 70, 2], [1, 80, 90, 2, 0]])
    padded = functional.pad(tokens, (0, 7))
    assert language.next_token_loss(model, padded).item() == pytest.approx(
        language.next_token_loss(model, tokens).item(), rel=1e-6
    )


def test_the_next_token_loss_is_the_mean_over_real_targets():
    model = language.initial_language_model(RECIPES["lm-d32"])
    texts = [[1, 50, 60, 70, 2], [1, 80, 2]]
    total = 0.0
    for ids in texts:
        logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        total -= sum(logits[place, ids[place + 1]].item() for place in range(len(ids) - 1))
    tokens = torch.tensor([texts[0], texts[1] + [0, 0]])
    assert language.next_token_loss(model, tokens).item() == pytest.approx(total / 6, rel=1e-5)


def test_weights_start_at_the_stated_width():
    model = language.initial_language_model(RECIPES["lm-d64"])
    assert model.lm_head.weight.std().item() == pytest.approx(0.8 / 8, rel=0.03)
    vit = vision.initial_vision_model(RECIPES["vit-d64"])
    assert vit.blocks[0].mlp.fc1.weight.std().item() == pytest.approx(0.8 / 8, rel=0.03)
    assert vit.blocks[0].mlp.fc2.weight.std().item() == pytest.approx(0.8 / 16, rel=0.03)
    assert vit.pos_embed.std().item() == pytest.approx(0.3, rel=0.05)


def test_making_a_model_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1).item()
    torch.manual_seed(5)
    vision.initial_vision_model(RECIPES["vit-d32"])
    assert torch.rand(1).item() == expected


@pytest.mark.parametrize(
    ("name", "n_parameters"),
    [("lm-d32", 56_480), ("lm-d64", 211_904), ("lm-d96", 430_752), ("vit-d32", 33_760), ("vit-d96", 360_576)],
)
def test_models_have_the_stated_number_of_parameters(name, n_parameters):
    recipe = RECIPES[name]
    build = language.initial_language_model if recipe.modality == "language" else vision.initial_vision_model
    assert sum(parameter.numel() for parameter in build(recipe).parameters()) == n_parameters


def test_nt_xent_equals_its_definition():
    codes, n = unit_rows(8, 5), 4
    expected = 0.0
    for i in range(2 * n):
        logits = {j: float(codes[i] @ codes[j]) / 0.1 for j in range(2 * n) if j != i}
        expected += math.log(sum(math.exp(value) for value in logits.values())) - logits[(i + n) % (2 * n)]
    assert vision.nt_xent(codes, 0.1).item() == pytest.approx(expected / (2 * n), rel=1e-9)


def test_the_clip_loss_equals_its_definition():
    similarity = 7 * unit_rows(6, 4) @ unit_rows(6, 4).flip(0).T
    expected = 0.0
    for matrix in (similarity, similarity.T):
        expected += sum(math.log(float(row.exp().sum())) - float(row[i]) for i, row in enumerate(matrix)) / 6
    assert clip.symmetric_cross_entropy(similarity).item() == pytest.approx(expected / 2, rel=1e-9)


def test_the_pair_loss_of_equal_similarities_is_two_ln_two():
    assert clip.pair_loss(torch.zeros(6, 6)).item() == pytest.approx(2 * math.log(2))


def test_the_pair_loss_looks_at_the_four_comparisons_of_each_item():
    similarity = torch.full((4, 4), 100.0)
    rows = torch.tensor([[0, 1], [2, 3]])
    right, wrong = 5.0, 1.0
    for i in range(2):
        a, b = i, i + 2
        similarity[a, a] = similarity[b, b] = right
        similarity[a, b] = similarity[b, a] = wrong
    expected = 0.5 * 4 * math.log1p(math.exp(wrong - right))
    assert rows.numel() == 4
    assert clip.pair_loss(similarity).item() == pytest.approx(expected, rel=1e-5)


def test_scene_labels_say_what_is_present():
    one = scenes("evaluation", 0, 1)
    scene = replace(
        one,
        theme=np.array([3]),
        count=np.array([2]),
        colour=np.array([[4, 9, 0]]),
        shape=np.array([[1, 1, 2]]),
        texture=np.array([[0, 3, 1]]),
        size=np.array([[1, 1, 0]]),
        cell=np.array([[0, 8, 4]]),
    )
    found = labels.scene_labels(scene).scene[0]
    expected = [0.0] * labels.N_LABELS
    for place in (3, 12 + 1, 15 + 4, 15 + 9, 25 + 1, 35 + 0, 35 + 3, 39 + 1, 41 + 0, 41 + 8):
        expected[place] = 1.0
    assert found.tolist() == expected


def test_patch_labels_lie_where_the_object_is_drawn():
    one = scenes("evaluation", 0, 1)
    scene = replace(one, count=np.array([1]), cell=np.array([[4, 0, 1]]), size=np.array([[1, 1, 1]]))
    patches = labels.scene_labels(scene).patch_colour[0].reshape(8, 8)
    empty = replace(scene, count=np.array([0]))
    drawn = (render(scene) != render(empty)).any(axis=-1)[0].reshape(8, 8, 8, 8).mean(axis=(1, 3))
    assert set(patches.unique().tolist()) == {0, int(scene.colour[0, 0]) + 1}
    assert (patches.numpy()[drawn > 0.6] > 0).all()
    assert (patches.numpy()[drawn == 0] > 0).sum() <= 4


def test_a_later_object_overwrites_an_earlier_one():
    one = scenes("evaluation", 0, 1)
    both = replace(
        one,
        count=np.array([2]),
        cell=np.array([[4, 4, 0]]),
        jitter=np.zeros_like(one.jitter),
        colour=np.array([[2, 7, 0]]),
        size=np.ones_like(one.size),
    )
    assert set(labels.scene_labels(both).patch_colour.unique().tolist()) == {0, 8}


def test_augmentation_keeps_shape_changes_pixels_and_follows_its_generator():
    pixels = sources.normalised(render(scenes("evaluation", 0, 4)))
    one, again, other = (vision.augmented(pixels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == pixels.shape
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=0.1)


def test_pictures_are_normalised_as_the_loaders_do_it():
    picture = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    picture[0, 0, 0, 1] = 255
    pixels = sources.normalised(picture)
    assert pixels.shape == (1, 3, 64, 64)
    assert pixels[0, 1, 0, 0].item() == pytest.approx(2.0)
    assert pixels[0, 0, 0, 0].item() == pytest.approx(-2.0)


def test_labels_cover_every_class_of_the_tables():
    sizes = (tables.THEMES, range(3), tables.COLOURS, tables.SHAPES, tables.TEXTURES, tables.SIZES, range(9))
    assert sum(len(one) for one in sizes) == labels.N_LABELS
