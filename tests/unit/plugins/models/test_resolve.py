"""Names are looked up, never guessed; what cannot be had is said in one line (default tier)."""

import json
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import timm
import tiny_models
from huggingface_hub import HfApi, close_session
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from transformers import AutoModel, AutoModelForCausalLM, CLIPImageProcessor

from interp_plugins.embedded import zoo
from interp_plugins.models.config import HuggingFaceModelConfig, LoadOptions, TimmModelConfig
from interp_plugins.models.fetching import clear_errors
from interp_plugins.models.hardware import choose_device, choose_dtype, quantization_config
from interp_plugins.models.huggingface import count_parameters, is_causal, modality_of
from interp_plugins.models.resolve import load_model, resolve_model
from interp_plugins.models.sizes import check_models, size_of, smallest_first
from interp_registry.choices import ModelConfig
from interp_registry.errors import (
    InterpError,
    MissingDependencyError,
    OfflineError,
    ResourceError,
    UnknownNameError,
    UsageError,
)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A folder of each kind of model, with names that lie about what they hold."""
    monkeypatch.chdir(tmp_path)
    tokenizer = tiny_models.tokenizer()
    for name, auto, config in (
        ("vit-language", AutoModelForCausalLM, tiny_models.language_config("llama")),
        ("bert-encoder", AutoModel, tiny_models.language_config("bert")),
        ("gpt-picture", AutoModel, tiny_models.vision_config("vit")),
        ("two", AutoModel, tiny_models.clip_config()),
    ):
        tiny_models.build(auto, config).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        CLIPImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / name)
    (tmp_path / "timm-one").mkdir()
    sizes = {"img_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 2}
    content = {"architecture": "vit_tiny_patch16_224", "num_classes": 0, "model_args": sizes, "pretrained_cfg": {}}
    (tmp_path / "timm-one" / "config.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind", "modality"),
    [
        ("vit-language", "huggingface", "language"),
        ("bert-encoder", "huggingface", "language"),
        ("gpt-picture", "huggingface", "vision"),
        ("two", "huggingface", "two_tower"),
        ("two:vision", "huggingface", "vision"),
        ("timm-one", "timm", "vision"),
    ],
)
def test_a_folder_is_what_its_config_says_whatever_its_name(folders, name, kind, modality) -> None:
    found = resolve_model(f"./{name}")
    assert (found.kind, found.modality) == (kind, modality)


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_tiny_patch16_224.augreg_in21k", "swin_tiny_patch4_window7_224"])
def test_timm_models_are_found_in_timms_registry(name) -> None:
    found = resolve_model(name)
    assert (found.kind, found.modality, found.name) == ("timm", "vision", name)


def test_models_of_the_zoo_and_their_controls_are_known() -> None:
    for name in [*zoo.names(), *zoo.names(untrained=True)[:1]]:
        assert resolve_model(name).kind == "embedded"
    assert not any(timm.is_model(name) for name in zoo.names())


def test_a_name_known_in_two_places_is_ambiguous_and_kind_decides(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("llama")).save_pretrained(tmp_path / "resnet18")
    with pytest.raises(UsageError, match="ambiguous"):
        resolve_model("resnet18")
    assert resolve_model("resnet18", kind="timm").modality == "vision"
    assert resolve_model("resnet18", kind="huggingface").modality == "language"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("lm-d46", "lm-d64"), ("vit_tiny_patch16_223", "vit_tiny_patch16_224"), ("resnet18.a1_in1", "resnet18.a1_in1k")],
)
def test_a_misspelt_name_gets_a_suggestion(name, suggestion) -> None:
    with pytest.raises(UnknownNameError, match=suggestion):
        resolve_model(name)


@pytest.mark.parametrize("name", ["meta-llama/Llama-2-7b-hf", "gpt2-large", "roberta-large", "t5-base"])
def test_a_name_that_only_the_hub_may_know_says_that_it_cannot_be_asked(name) -> None:
    with pytest.raises(OfflineError, match="hub cannot be asked"):
        resolve_model(name)


def test_a_folder_without_a_model_is_explained(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"no config\.json"):
        resolve_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        resolve_model(str(tmp_path))
    with pytest.raises(UsageError, match="no folder"):
        resolve_model("./nowhere")
    with pytest.raises(UsageError, match="empty"):
        resolve_model(" ")


def test_a_tower_of_a_model_with_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no tower"):
        resolve_model("resnet18:vision")


def test_the_revision_of_a_folder_changes_with_its_weights(folders) -> None:
    before = resolve_model("./vit-language").revision
    assert resolve_model("./vit-language").revision == before
    assert resolve_model("./vit-language", LoadOptions(untrained=True, seed=1)).revision == f"{before}-untrained-1"
    network = tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("llama"), seed=1)
    network.save_pretrained(folders / "vit-language")
    assert resolve_model("./vit-language").revision != before


def test_loading_from_a_folder_gives_every_kind(folders) -> None:
    assert load_model("./vit-language").info.causal
    assert not load_model("./bert-encoder").info.causal
    assert load_model("./two:text").info.modality == "language"
    untrained = load_model("./timm-one", LoadOptions(untrained=True))
    assert untrained.info.revision.endswith("-untrained-0")
    assert untrained.info.n_params == size_of(resolve_model("./timm-one")).n_params


def test_untrained_weights_are_a_function_of_the_seed(folders) -> None:
    weights = [load_model("./vit-language", LoadOptions(untrained=True, seed=seed)).unembedding for seed in (0, 0, 1)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


def test_a_language_model_without_a_tokenizer_asks_for_one(tmp_path) -> None:
    tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("gpt2")).save_pretrained(tmp_path / "m")
    with pytest.raises(UsageError, match="tokenizer"):
        load_model(str(tmp_path / "m"))


@dataclass
class PluginModelConfig(ModelConfig):
    """A stranger's model."""

    impl: ClassVar[str] = "builtins:repr"
    modality: ClassVar[str] = "vision"
    seed: int = 0


def test_a_model_of_a_plugin_is_found_by_its_name_and_given_the_options_it_has(monkeypatch) -> None:
    monkeypatch.setitem(ModelConfig.get_known_choices(), "strange", PluginModelConfig)
    found = resolve_model("strange", LoadOptions(seed=4))
    assert (found.kind, found.modality, found.config) == ("plugin", "vision", PluginModelConfig(seed=4))


def test_encoders_and_decoders_of_one_family_are_told_apart_by_the_checkpoint() -> None:
    bert = tiny_models.language_config("bert")
    assert not is_causal(bert)
    bert.architectures = ["BertLMHeadModel"]
    assert is_causal(bert)
    assert is_causal(tiny_models.language_config("gpt2"))
    assert modality_of(tiny_models.vision_config("convnext")) == "vision"


def test_parameters_are_counted_without_weights_and_tied_ones_once() -> None:
    config = tiny_models.language_config("gpt2")
    network = AutoModelForCausalLM.from_config(config)
    assert count_parameters(config) == sum(parameter.numel() for parameter in network.parameters())


def test_a_set_of_models_is_checked_without_loading_any(folders) -> None:
    names = ["./vit-language", "vit_base_patch16_384.augreg_in21k", "resnet18", "some/hub-model"]
    language, missing, vision, hub = check_models(names, memory_bytes=1 << 30)
    assert (language.exists, language.fits, language.local) == (True, True, True)
    assert missing.exists is False
    assert (vision.exists, vision.n_params) == (True, 11_689_512)
    assert (hub.exists, hub.n_params) == (None, None)
    assert check_models(["resnet18"], memory_bytes=1 << 20)[0].fits is False


def test_the_smallest_models_come_first() -> None:
    models = [resolve_model(name) for name in ("resnet50", "lm-d128", "resnet18", "lm-d32")]
    assert [model.name for model in smallest_first(models)] == ["lm-d32", "lm-d128", "resnet18", "resnet50"]


def _response(status: int) -> Any:
    import httpx

    return httpx.Response(status, request=httpx.Request("GET", "https://example.org/secret-token"))


@pytest.mark.parametrize(
    ("raised", "expected", "said"),
    [
        (GatedRepoError("no", response=_response(403)), MissingDependencyError, "is gated"),
        (RepositoryNotFoundError("no", response=_response(404)), MissingDependencyError, "no repository"),
        (LocalEntryNotFoundError("no"), OfflineError, "hub cannot be reached"),
        (OSError(28, "No space left on device"), ResourceError, "disk is full"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), ResourceError, "does not fit in memory"),
        (ValueError("Unrecognized model\nand a long story"), UsageError, "cannot be loaded: Unrecognized model"),
    ],
)
def test_every_way_to_fail_is_one_line(monkeypatch, tmp_path, raised, expected, said) -> None:
    monkeypatch.setattr("interp_plugins.models.fetching.is_offline", lambda: False)
    name = str(tmp_path) if expected in (ResourceError, UsageError) else "some/model"
    with pytest.raises(expected, match=said) as caught, clear_errors(name):
        _raise(raised)
    assert "\n" not in caught.value.message


def _raise(err: Exception) -> None:
    """As the libraries do: the hub's own errors arrive wrapped."""
    if isinstance(err, ValueError | RuntimeError):
        raise err
    raise OSError("wrapped") from err


def test_devices_and_types_follow_the_hardware(monkeypatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    assert choose_dtype("auto", torch.device("mps")) is torch.float32
    assert choose_dtype("auto", torch.device("cpu")) is torch.float32
    assert choose_dtype("bf16", torch.device("cpu")) is torch.bfloat16
    for supported, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, s=supported: s)
        assert choose_dtype("auto", torch.device("cuda")) is expected
    with pytest.raises(UsageError, match="MPS"):
        quantization_config("4bit", torch.device("mps"))
    with pytest.raises(UsageError, match="no device"):
        choose_device("cuda:1")
    with pytest.raises(UsageError, match="no device"):
        choose_device("gpu")


def test_timm_models_are_not_quantised() -> None:
    with pytest.raises(InterpError, match="neither quantised"):
        TimmModelConfig(name="resnet18", quantize="4bit").build()
    assert HuggingFaceModelConfig(name="x").quantize is None


@pytest.mark.parametrize("listens", [True, False], ids=["it accepts and never answers", "it is not there"])
def test_a_hub_that_does_not_answer_is_asked_once_and_not_for_half_a_minute(monkeypatch, listens) -> None:
    from interp_plugins.models import fetching

    monkeypatch.setattr(fetching.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(fetching.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    fetching.hub_answers.cache_clear()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(fetching.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        if not listens:
            server.close()
        begin = time.monotonic()
        try:
            for _ in range(2):
                with pytest.raises(OfflineError, match="not in the local cache"):
                    fetching.require_hub_or_cache("some/model")
            assert fetching.hub_answers.cache_info().misses == 1
            assert time.monotonic() - begin < 5
        finally:
            fetching.hub_answers.cache_clear()
            close_session()


def test_every_request_to_the_hub_has_an_end(monkeypatch) -> None:
    """Also those for which its library sets none, such as the one for what a repository holds."""
    from interp_plugins.models import fetching

    monkeypatch.setattr(fetching.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(fetching.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    fetching.hub_answers.cache_clear()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(fetching.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        try:
            assert not fetching.hub_answers()
            with pytest.raises(OfflineError, match="stopped answering while some/model"), clear_errors("some/model"):
                HfApi(f"http://127.0.0.1:{server.getsockname()[1]}").model_info("some/model")
        finally:
            fetching.hub_answers.cache_clear()
            close_session()


def test_a_folder_whose_name_no_function_can_have_is_found_without_importing_timm(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # an import raises
    assert resolve_model("vit-language").modality == "language"


def test_no_model_of_timm_has_a_name_that_a_function_cannot_have():
    assert all(name.isidentifier() for name in timm.list_models())
