"""Two-tower models: their towers are models, their joint embeddings are the library's own (default tier)."""

import pytest
import tiny_models
import torch
from torchvision.transforms.functional import to_tensor
from transformers import AutoModel

from interp_plugins.models.two_tower import wrap_two_tower
from interp_registry.contracts.model import TwoTower
from interp_registry.errors import UsageError
from interp_registry.tensors.layers import Layer

TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8"]


def resized(image):
    return to_tensor(image.resize((32, 32)))


@pytest.fixture(scope="module", params=["clip", "siglip"])
def model(request):
    config = tiny_models.clip_config() if request.param == "clip" else tiny_models.siglip_config()
    facts = {"name": request.param, "revision": "0", "n_params": 1, "dtype": "float32"}
    return wrap_two_tower(tiny_models.build(AutoModel, config), tiny_models.tokenizer(), resized, facts)


def test_layers_carry_the_name_of_their_tower(model) -> None:
    assert isinstance(model, TwoTower)
    assert [str(layer) for layer in model.info.default_layers] == [
        *("text:0", "text:1", "text:2", "vision:1", "vision:2.pre_norm"),
    ]


def test_each_tower_is_a_model_whose_layers_can_be_captured(model) -> None:
    for name, samples in {"text": TEXTS, "vision": tiny_models.images(3)}.items():
        tower = model.tower(name)
        batch = tower.collate(tower.preprocess(samples))
        with torch.inference_mode(), tower.capture(tower.info.layers) as capture:
            last = tower.forward(batch).last_hidden
        assert torch.equal(capture[Layer(2)], last)
        assert last.shape[0] == 3


def test_the_whole_model_captures_both_towers_in_their_own_passes(model) -> None:
    layers = [Layer(1, tower="text"), Layer(1, tower="vision")]
    with torch.inference_mode(), model.capture(layers) as capture:
        model.forward(model.collate(model.preprocess(TEXTS)))
        text = capture.take()
        model.forward(model.collate(model.preprocess(tiny_models.images(2))))
        vision = capture.take()
    assert list(text) == layers[:1]
    assert list(vision) == layers[1:]


def test_joint_embeddings_are_those_of_the_library(model) -> None:
    text_batch = model.tower("text").collate(model.tower("text").preprocess(TEXTS))
    pixels = torch.stack([resized(image) for image in tiny_models.images(2)])
    with torch.inference_mode():
        expected = model.module(**text_batch.inputs, pixel_values=pixels)
        texts, images = model.embed_texts(TEXTS), model.embed_images(tiny_models.images(2))
    torch.testing.assert_close(texts, expected.text_embeds)
    torch.testing.assert_close(images, expected.image_embeds)
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(3))
    assert model.logit_scale == pytest.approx(float(model.module.logit_scale.detach().exp()))


def test_an_embedding_does_not_depend_on_the_other_texts_of_the_batch(model) -> None:
    with torch.inference_mode():
        together, alone = model.embed_texts(TEXTS), torch.cat([model.embed_texts([text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_a_text_tower_has_no_next_token_logits(model) -> None:
    tower = model.tower("text")
    with pytest.raises(UsageError, match="no language-modelling head"):
        tower.forward(tower.collate(tower.preprocess(TEXTS)), logits=True)
