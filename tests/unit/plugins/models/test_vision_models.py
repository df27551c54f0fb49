"""Vision models of Hugging Face and timm: layers, prefix tokens, ragged widths (default tier)."""

import pytest
import timm
import tiny_models
import torch
from torchvision.transforms.functional import to_tensor
from transformers import AutoModel

from interp_plugins.models.timm import wrap_timm_model
from interp_plugins.models.vision import wrap_vision_model
from interp_registry.contracts.model import Encoded
from interp_registry.errors import DataError, UsageError
from interp_registry.tensors.layers import Layer

FACTS = {"name": "tiny", "revision": "0"}


def resized(image):
    return to_tensor(image.resize((32, 32)))


def hugging_face(family):
    network = tiny_models.build(AutoModel, tiny_models.vision_config(family))
    return wrap_vision_model(network, resized, FACTS | {"n_params": 1, "dtype": "float32"})


def captured(model, layers, samples):
    batch = model.collate(model.preprocess(samples))
    with torch.inference_mode(), model.capture(layers) as capture:
        output = model.forward(batch)
    return batch, capture.take(), output


@pytest.mark.parametrize("family", tiny_models.VISION)
def test_hooks_see_exactly_the_hidden_states_of_the_same_batch(family) -> None:
    model = hugging_face(family)
    batch, values, output = captured(model, model.info.layers, tiny_models.images())
    with torch.inference_mode():
        states = model.module.base_model(**batch.inputs, output_hidden_states=True).hidden_states
    last = model.info.layers[-1].index
    for number, state in enumerate(states[:-1]):
        assert torch.equal(values[Layer(number)], state)
    assert any(torch.equal(values[layer], states[-1]) for layer in model.info.layers if layer.index == last)
    assert torch.equal(values[Layer(last)], output.last_hidden)


@pytest.mark.parametrize(
    ("family", "n_prefix"),
    [
        ("vit", 1),
        ("deit", 2),
        ("dinov2", 1),
        ("dinov2_with_registers", 4),
        ("clip_vision_model", 1),
        ("convnext", 0),
        ("siglip_vision_model", 0),
    ],
)
def test_class_and_register_tokens_are_counted(family, n_prefix) -> None:
    assert hugging_face(family).info.n_prefix_tokens == n_prefix


def test_default_layers_of_a_vision_transformer_leave_out_embeddings_and_the_normed_end() -> None:
    assert [str(layer) for layer in hugging_face("vit").info.default_layers] == ["1", "2.pre_norm"]


def test_a_convolutional_network_has_ragged_widths_and_maps() -> None:
    info = hugging_face("convnext").info
    assert info.spatial
    assert [info.widths[layer] for layer in info.default_layers] == [8, 16, 24, 32]


@pytest.mark.parametrize(
    ("name", "sizes", "widths", "spatial"),
    [
        ("convnext_atto", {"dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1)}, [8, 16, 24, 32], True),
        ("resnet10t", {}, [64, 64, 128, 256, 512], True),
        ("swin_tiny_patch4_window7_224", {"embed_dim": 8, "depths": (1, 1, 1, 1)}, [8, 16, 32, 64], False),
        ("vit_tiny_patch16_224", {"embed_dim": 32, "depth": 3, "num_heads": 2}, [32, 32, 32], False),
        ("deit_tiny_distilled_patch16_224", {"embed_dim": 32, "depth": 2, "num_heads": 2}, [32, 32], False),
        ("mixer_s32_224", {}, [512] * 8, False),
    ],
)
def test_timm_networks_give_their_stages(name, sizes, widths, spatial) -> None:
    info = wrap_timm_model(timm.create_model(name, **sizes).eval(), FACTS).info
    assert [info.widths[layer] for layer in info.default_layers] == widths
    assert info.spatial is spatial


def test_the_layers_of_a_timm_transformer_are_its_blocks_and_what_comes_after_its_norm() -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=32, depth=3, num_heads=2).eval()
    model = wrap_timm_model(network, FACTS)
    batch, values, output = captured(model, model.info.layers, [torch.rand(3, 32, 32)])
    with torch.inference_mode():
        middle = network.forward_intermediates(
            batch.inputs["pixel_values"], indices=[0, 1, 2], output_fmt="NLC", intermediates_only=True
        )
    assert [str(layer) for layer in model.info.layers] == ["0", "1", "2", "3.pre_norm", "3"]
    with torch.inference_mode():
        assert torch.equal(values[Layer(3)], network.norm(values[Layer(3, pre_norm=True)]))
    assert torch.equal(values[Layer(3)], output.last_hidden)
    for number, expected in enumerate(middle[:-1], start=1):
        assert torch.equal(values[Layer(number)][:, 1:], expected)


SMALL_VIT = {"embed_dim": 32, "depth": 3, "num_heads": 2}


@pytest.mark.parametrize(
    ("name", "sizes", "n_prefix"),
    [
        ("vit_base_patch16_224.mae", {"img_size": 32}, 1),
        ("vit_small_patch16_224.dino", {"img_size": 32}, 1),
        ("vit_base_patch16_clip_224.openai", {"img_size": 32}, 1),
        ("vit_small_patch14_dinov2.lvd142m", {"img_size": 28}, 1),
        ("vit_small_patch14_reg4_dinov2.lvd142m", {"img_size": 28}, 5),
        ("deit_small_patch16_224.fb_in1k", {"img_size": 32}, 1),
        ("deit_small_distilled_patch16_224.fb_in1k", {"img_size": 32}, 2),
        ("vit_base_patch16_siglip_224.webli", {"img_size": 32}, 0),
    ],
)
def test_every_family_of_timm_transformers_gives_its_blocks_exactly(name, sizes, n_prefix) -> None:
    assert timm.models.is_model_pretrained(name)
    network = timm.create_model(name.partition(".")[0], **SMALL_VIT, **sizes).eval()
    model = wrap_timm_model(network, FACTS)
    assert model.info.n_prefix_tokens == n_prefix
    side = sizes["img_size"]
    batch, values, output = captured(model, model.info.layers, [torch.rand(3, side, side) for _ in range(2)])
    with torch.inference_mode():
        final, middle = network.forward_intermediates(
            batch.inputs["pixel_values"], output_fmt="NLC", return_prefix_tokens=n_prefix > 0
        )
    for number, expected in enumerate(middle[:-1], start=1):
        if n_prefix:
            expected = torch.cat([expected[1], expected[0]], dim=1)  # noqa: PLW2901
        assert torch.equal(values[Layer(number)], expected)
    assert torch.equal(values[Layer(3)], final)
    assert torch.equal(values[Layer(3)], output.last_hidden)


@pytest.mark.parametrize("name", ["convnext_atto", "resnet10t", "swin_tiny_patch4_window7_224"])
def test_the_stages_of_a_timm_network_are_those_that_timm_gives_itself(name) -> None:
    sizes = {"convnext_atto": {"dims": (8, 16, 24, 32), "depths": (1, 1, 2, 1)}, "resnet10t": {}}
    network = timm.create_model(name, **sizes.get(name, {"embed_dim": 8, "depths": (1, 1, 1, 1)})).eval()
    model = wrap_timm_model(network, FACTS)
    batch, values, _ = captured(model, model.info.default_layers, [torch.rand(3, 224, 224)])
    fmt = "NCHW" if model.info.spatial else "NHWC"
    with torch.inference_mode():
        stages = network.forward_intermediates(batch.inputs["pixel_values"], intermediates_only=True, output_fmt="NCHW")
    for layer, expected in zip(model.info.default_layers, stages, strict=True):
        found = values[layer] if fmt == "NCHW" else values[layer].permute(0, 3, 1, 2)
        assert torch.equal(found, expected)


def test_a_text_is_refused_by_a_vision_model() -> None:
    with pytest.raises(DataError, match="reads images"):
        hugging_face("vit").preprocess(["a cat"])


def test_logits_are_refused_where_there_is_no_classifier() -> None:
    model = hugging_face("vit")
    batch = model.collate([Encoded({"pixel_values": torch.rand(3, 32, 32)})])
    with pytest.raises(UsageError, match="no classifier"):
        model.forward(batch, logits=True)


def test_a_timm_classifier_gives_logits() -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=32, depth=1, num_heads=2, num_classes=7)
    model = wrap_timm_model(network.eval(), FACTS)
    batch = model.collate(model.preprocess([torch.rand(3, 32, 32)]))
    with torch.inference_mode():
        assert torch.equal(model.forward(batch, logits=True).logits, network(batch.inputs["pixel_values"]))
