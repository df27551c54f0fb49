"""Checkpoints of tiny natural-language autoencoders, as released ones look: made from nothing, with sidecars written by hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

MARKER = "\u320e"
PROMPT = "Describe the vector.\n<concept>{injection_char}</concept>\nUse <explanation> tags."
READING = "Summary of the following text: <text>{explanation}</text> <summary>"
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
K = 1
SCALE = 5.0


def byte_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Bytes as tokens, a marker, and the special tokens and chat template of a family."""
    specials = {
        "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        "gemma3": ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
    }[family]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate([*specials, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(specials)
    core.add_tokens([MARKER])
    if family == "qwen2":
        template = (
            "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=template
        )
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    template = (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", chat_template=template
    )


def network(family: str, tokenizer: PreTrainedTokenizerFast, n_layers: int = 4, seed: int = 0) -> Any:
    """A random causal language model of a family."""
    sizes = {**SIZES, "vocab_size": len(tokenizer), "num_hidden_layers": n_layers}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(seed)
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**sizes, **ends, bos_token_id=None)).eval()
    kinds = (["sliding_attention", "full_attention"] * n_layers)[:n_layers]
    config = Gemma3TextConfig(
        **sizes, **ends, bos_token_id=tokenizer.bos_token_id, head_dim=8, sliding_window=8, layer_types=kinds
    )
    return Gemma3ForCausalLM(config).eval()


def tokens_of(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The sidecar's section on tokens, by hand: bytes around the marker, and bytes of the suffix but its first."""
    after = READING.split("{explanation}")[1]
    byte = {char: tokenizer.convert_tokens_to_ids("Ġ" if char == " " else char) for char in "<>" + after}
    return {
        "injection_char": MARKER,
        "injection_token_id": tokenizer.convert_tokens_to_ids(MARKER),
        "injection_left_neighbor_id": byte[">"],
        "injection_right_neighbor_id": byte["<"],
        "critic_suffix_ids": [byte[char] for char in after[1:]],
    }


@dataclass
class Released:
    """A pair of checkpoint folders."""

    family: str
    tokenizer: PreTrainedTokenizerFast
    verbaliser: Path
    reconstructor: Path

    def change(self, folder: Path, key: str, value: Any) -> None:
        """Set, or with None remove, one dotted field of a sidecar."""
        path = folder / "nla_meta.yaml"
        data = yaml.safe_load(path.read_text())
        *owners, last = key.split(".")
        inner = data
        for owner in owners:
            inner = inner.setdefault(owner, {})
        if value is None:
            inner.pop(last, None)
        else:
            inner[last] = value
        path.write_text(yaml.safe_dump(data, allow_unicode=True))


def release(family: str, folder: Path) -> Released:
    """Write both halves as a release has them."""
    tokenizer = byte_tokenizer(family)
    shared = {
        "kind": "nla_model",
        "schema_version": 2,
        "d_model": SIZES["hidden_size"],
        "extraction_layer_index": K,
        "tokens": tokens_of(tokenizer),
        "prompt_templates": {"av": PROMPT, "ar": READING},
    }
    writer, reader = folder / "av", folder / "ar"
    network(family, tokenizer).save_pretrained(writer)
    network(family, tokenizer, K + 1, seed=1).save_pretrained(reader)
    head = torch.eye(32) + 0.1 * torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
    save_file({"weight": head}, reader / "value_head.safetensors")
    for path, extra in (
        (writer, {"role": "av", "extraction": {"injection_scale": SCALE, "mse_scale": "sqrt_d_model"}}),
        (reader, {"role": "ar", "extraction": {"mse_scale": 32**0.5}, "critic": {"extraction_layer_index": K}}),
    ):
        tokenizer.save_pretrained(path)
        (path / "nla_meta.yaml").write_text(yaml.safe_dump(shared | extra, allow_unicode=True))
    return Released(family, tokenizer, writer, reader)


@pytest.fixture(scope="session", params=["qwen2", "gemma3"])
def released_once(request, tmp_path_factory):
    """A release of each family, not to be changed."""
    return release(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def released(tmp_path):
    """A release of the family with a beginning-of-sequence token, to be spoilt."""
    return release("gemma3", tmp_path)
