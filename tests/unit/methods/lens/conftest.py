"""Tiny causal language models of four families, with a sliding window in the last."""

import json

import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPT2Config, GPTNeoXConfig, LlamaConfig

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 2,
}
GROUPED = SIZES | {"num_key_value_heads": 2, "head_dim": 8}
FAMILIES = {
    "llama": lambda: LlamaConfig(**GROUPED),
    "gpt2": lambda: GPT2Config(
        vocab_size=64, n_embd=32, n_layer=4, n_head=4, n_positions=64, pad_token_id=0, bos_token_id=2, eos_token_id=2
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**SIZES),
    "gemma3": lambda: Gemma3TextConfig(
        **GROUPED, sliding_window=4, layer_types=["sliding_attention", "full_attention"] * 2
    ),
}


def tiny_causal(config):
    """A random model of a configuration."""
    from interp_plugins.models.wrapping import wrap_module

    network = tiny_models.build(AutoModelForCausalLM, config)
    return wrap_module(network, tiny_models.tokenizer())


@pytest.fixture(scope="session", params=FAMILIES)
def causal(request):
    """One tiny model of each family."""
    return tiny_causal(FAMILIES[request.param]())


@pytest.fixture(scope="session")
def llama():
    """A tiny Llama."""
    return tiny_causal(FAMILIES["llama"]())


@pytest.fixture
def texts():
    """Token ids and mask of five texts of 3 to 12 tokens, padded on the right."""
    from interp_plugins.methods.lens.parts import mask_of

    lengths = torch.tensor([12, 3, 7, 9, 5])
    ids = torch.randint(3, 60, (5, 12), generator=torch.Generator().manual_seed(1))
    mask = mask_of(lengths, 12)
    return ids * mask, mask


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny Llama on disk, with its tokenizer."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_models.build(AutoModelForCausalLM, FAMILIES["llama"]()).save_pretrained(folder)
    tiny_models.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Forty texts of 1 to 12 words."""
    file = tmp_path_factory.mktemp("corpus") / "texts.jsonl"
    lines = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(tiny_models.texts(40))]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="session", autouse=True)
def plugins():
    """The first-party lenses are registered."""
    from interp_registry.discovery import discover

    discover()
