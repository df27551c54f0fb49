"""Number types, quantisation, spreading over devices and compiling, on a CPU (default tier; real compilation is slow)."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import accelerate
import pytest
import tiny_models
import torch
import transformers
from packaging.version import Version
from transformers import AutoModelForCausalLM

from interp_plugins.methods.extract.api import extract
from interp_plugins.models import hardware
from interp_plugins.models.config import LoadOptions
from interp_plugins.models.hardware import quantization_config, require_memory
from interp_plugins.models.resolve import load_model
from interp_registry.discovery import discover
from interp_registry.errors import MissingDependencyError, ResourceError, UsageError

TEXTS = tiny_models.texts(9)


@pytest.fixture(scope="module", autouse=True)
def _plugins():
    discover()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return tiny_models.wide_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def exact(folder):
    return extract(load_model(folder), TEXTS)


def load(folder, **options):
    return load_model(folder, LoadOptions(device="cpu", **options))


def error_of(found, exact) -> float:
    return float((found.features - exact.features).norm() / exact.features.norm())


@pytest.mark.parametrize(("dtype", "most"), [("bf16", 0.02), ("fp16", 0.003)])
def test_half_precision_is_near_and_pooled_in_fp32(folder, exact, dtype, most) -> None:
    model = load(folder, dtype=dtype)
    found = extract(model, TEXTS)
    assert model.info.dtype == {"bf16": "bfloat16", "fp16": "float16"}[dtype]
    assert found.features.dtype == torch.float32
    assert 0 < error_of(found, exact) < most


@tiny_models.needs_bitsandbytes
@pytest.mark.parametrize(("quantize", "kind", "most"), [("8bit", "Linear8bitLt", 0.05), ("4bit", "Linear4bit", 0.35)])
def test_quantised_weights_are_small_and_the_parameters_are_those_of_the_model(
    folder, exact, quantize, kind, most
) -> None:
    model = load(folder, quantize=quantize)
    packed = [module for module in model.module.modules() if type(module).__name__ == kind]
    assert len(packed) == 14
    assert all(module.weight.element_size() == 1 for module in packed)
    assert sum(parameter.numel() for parameter in model.module.parameters()) <= model.info.n_params == exact.n_params
    assert model.info.dtype == quantize
    found = extract(model, TEXTS)
    assert 0 < error_of(found, exact) < most
    assert found.loss == pytest.approx(exact.loss, rel=0.1)


@tiny_models.needs_bitsandbytes
def test_four_bits_are_nf4_quantised_twice(folder) -> None:
    settings = load(folder, quantize="4bit").module.config.quantization_config
    assert (settings.bnb_4bit_quant_type, settings.bnb_4bit_use_double_quant) == ("nf4", True)


@tiny_models.needs_bitsandbytes
def test_what_bitsandbytes_cannot_pack_is_one_line(tmp_path) -> None:
    tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("llama")).save_pretrained(tmp_path / "narrow")
    tiny_models.tokenizer().save_pretrained(tmp_path / "narrow")
    with pytest.raises(UsageError, match="cannot pack") as caught:
        load(str(tmp_path / "narrow"), quantize="4bit")
    assert "\n" not in caught.value.message


def test_without_bitsandbytes_it_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr(hardware, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda _name: None)))
    with pytest.raises(MissingDependencyError, match="needs bitsandbytes, which is not installed"):
        quantization_config("4bit", torch.device("cpu"))


wholly_on_disk = pytest.mark.skipif(
    Version(accelerate.__version__) < Version("1.15") or Version(transformers.__version__) < Version("5.18"),
    reason="a model wholly on the disk needs accelerate 1.15 and transformers 5.18",
)


@pytest.mark.parametrize("memory", [1 << 40, 250_000, pytest.param(60_000, marks=wholly_on_disk)])
def test_a_model_is_spread_over_memory_and_disk_and_gives_the_same_numbers(folder, exact, monkeypatch, memory) -> None:
    """accelerate is told of a machine with little memory; what does not fit is read from the disk when its turn comes."""
    import psutil

    with monkeypatch.context() as patch:
        patch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=memory, total=memory))
        model = load(folder, device_map="auto")
    places = {str(parameter.device) for parameter in model.module.parameters()}
    assert places == {1 << 40: {"cpu"}, 250_000: {"cpu", "meta"}, 60_000: {"meta"}}[memory]
    found = extract(model, TEXTS)
    assert torch.equal(found.features, exact.features)
    assert found.loss == exact.loss


def test_weights_that_do_not_fit_are_refused_before_they_are_read(folder, monkeypatch) -> None:
    monkeypatch.setattr(hardware, "free_memory", lambda _device: 100_000)
    with pytest.raises(ResourceError, match=r"needs 0\.0 GiB of memory .* cpu has 0\.0 GiB free"):
        load(folder)
    assert load(folder, quantize=None, device_map="auto").info.n_params
    monkeypatch.setattr(hardware, "free_memory", lambda _device: 0)  # a system that does not tell
    require_memory("any", 1 << 60, torch.device("cpu"))


def hooks_equal_hidden_states(model) -> None:
    batch = model.collate(model.preprocess(TEXTS))
    with torch.inference_mode(), model.capture(model.info.default_layers) as capture:
        model.forward(batch)
        states = model.module.base_model(**batch.inputs, output_hidden_states=True).hidden_states
    for layer, state in zip(model.info.default_layers, states, strict=True):
        assert torch.equal(capture[layer], state)


def test_each_block_is_compiled_once_and_hooks_stay_outside(folder, exact, monkeypatch) -> None:
    calls: list[int] = []

    def compiled(function, dynamic):
        assert dynamic
        number = len(set(calls))
        calls.append(number)

        def run(*arguments, **options):
            calls.append(number)
            return function(*arguments, **options)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    model = load(folder, compile=True)
    assert calls == [0, 1]
    hooks_equal_hidden_states(model)
    assert calls[2:] == [0, 1] * 2
    assert torch.equal(extract(model, TEXTS).features, exact.features)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_blocks_give_the_same_numbers(folder, exact) -> None:
    model = load(folder, compile=True)
    hooks_equal_hidden_states(model)
    assert error_of(extract(model, TEXTS), exact) < 5e-6


def test_a_configuration_that_states_more_blocks_than_there_are_weights_is_refused(folder, tmp_path) -> None:
    lying = Path(shutil.copytree(folder, tmp_path / "lying"))
    stated = json.loads((lying / "config.json").read_text())
    stated["num_hidden_layers"] += 1
    (lying / "config.json").write_text(json.dumps(stated))
    with pytest.raises(UsageError, match="states blocks whose weights its files lack"):
        load(str(lying))


def test_weights_that_are_no_weights_are_named(folder, tmp_path) -> None:
    torn = Path(shutil.copytree(folder, tmp_path / "torn"))
    content = (torn / "model.safetensors").read_bytes()
    (torn / "model.safetensors").write_bytes(b"\xff" * 100 + content[100:])
    with pytest.raises(UsageError, match="torn cannot be loaded: "):
        load(str(torn))
