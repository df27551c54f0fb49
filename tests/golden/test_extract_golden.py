"""Features, losses and sizes that the published extraction code gave for four tiny random models (default tier)."""

import json
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from interp_plugins.methods.extract.api import extract

DATA = Path(__file__).parent / "extract"
META = json.loads((DATA / "meta.json").read_text())["entries"]
TEXTS = json.loads((DATA / "texts.json").read_text())
LANGUAGE = ["llama", "gpt2", "pythia"]


def golden(name: str) -> dict[str, Tensor]:
    return load_file(DATA / f"{name}.safetensors")


@pytest.fixture(scope="module")
def vit() -> torch.nn.Module:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "num_classes": 10}
    model = timm.create_model("vit_tiny_patch16_224", **sizes)
    model.load_state_dict(golden("vit"))
    return model


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


@pytest.mark.parametrize("name", LANGUAGE)
@pytest.mark.parametrize("max_tokens", [24, 2048])
def test_default_features_are_those_of_each_text_alone(name: str, max_tokens: int) -> None:
    found = extract(DATA / name, TEXTS, tokenizer=DATA / "tokenizer", max_tokens=max_tokens)
    assert relative_error(found.features, golden(f"{name}_pool-avg_unpadded")["feats"]) < 5e-6
    assert found.n_params == META[f"{name}_pool-avg"]["num_params"]
    assert [str(layer) for layer in found.layers] == [str(number) for number in range(found.features.shape[1])]
    assert repr(found).startswith(f"Extraction(features {list(found.features.shape)}, layers 0,1")


@pytest.mark.parametrize("name", ["llama", "pythia"])
def test_default_last_token_loss_and_bits_agree_where_positions_are_relative(name: str) -> None:
    found = extract(DATA / name, TEXTS, "last", tokenizer=DATA / "tokenizer")
    torch.testing.assert_close(found.features, golden(f"{name}_pool-last")["feats"], atol=1e-4, rtol=0)
    assert found.loss == pytest.approx(META[f"{name}_pool-last"]["loss"], abs=1e-5)
    assert found.bpb == pytest.approx(META[f"{name}_pool-last"]["bpb"], abs=1e-5)


def test_gpt2_without_padding_has_the_loss_of_unpadded_texts() -> None:
    found = extract(DATA / "gpt2", TEXTS, tokenizer=DATA / "tokenizer")
    assert found.loss == pytest.approx(5.6372, abs=1e-4)
    assert found.bpb == pytest.approx(1.8562, abs=1e-4)


@pytest.mark.parametrize("name", LANGUAGE)
@pytest.mark.parametrize("pool", ["avg", "last"])
def test_compat_reproduces_the_published_code(name: str, pool: str) -> None:
    expected, meta = golden(f"{name}_pool-{pool}"), META[f"{name}_pool-{pool}"]
    found = extract(DATA / name, TEXTS, pool, compat="platonic", tokenizer=DATA / "tokenizer", batch_size=4)
    torch.testing.assert_close(found.features, expected["feats"], atol=1e-5, rtol=0)
    assert torch.equal(found.mask, expected["mask"])
    assert found.mask.dtype == expected["mask"].dtype
    assert found.loss == pytest.approx(meta["loss"], abs=1e-5)
    assert found.bpb == pytest.approx(meta["bpb"], abs=1e-5)
    assert (list(found.features.shape), found.n_params) == (meta["shape"], meta["num_params"])


@pytest.mark.parametrize("pool", ["cls", "avg", "max"])
@pytest.mark.parametrize("compat", [None, "platonic"])
def test_vision_features_equal_the_published_ones(vit: torch.nn.Module, pool: str, compat: str | None) -> None:
    pixels = golden("vit_pixel_values")["pixel_values"]
    found = extract(vit, pixels, pool, compat=compat, batch_size=5)
    torch.testing.assert_close(found.features, golden(f"vit_pool-{pool}")["feats"], atol=1e-5, rtol=0)
    assert found.n_params == META[f"vit_pool-{pool}"]["num_params"]
    assert [str(layer) for layer in found.layers] == ["1", "2", "3.pre_norm"]


def test_images_are_transformed_as_the_published_code_does(vit: torch.nn.Module) -> None:
    images = [Image.fromarray(array.numpy()) for array in golden("images")["images_uint8_hwc"]]
    found = extract(vit, images, "cls")
    torch.testing.assert_close(found.features, golden("vit_pool-cls")["feats"], atol=1e-5, rtol=0)
