"""Tiny random checkpoints of the model families: two blocks, width 32, no downloads."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

N_WORDS = 60

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is for Linux"
)

SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
GROUPED = SMALL | {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64}
GPT = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
ENCODER = SMALL | {"max_position_embeddings": 64}

CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("BloomConfig", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "llama": ("LlamaConfig", GROUPED),
    "gemma": ("GemmaConfig", GROUPED),
    "gemma2": ("Gemma2Config", GROUPED | {"final_logit_softcapping": 5.0}),
    "mistral": ("MistralConfig", GROUPED),
    "mixtral": ("MixtralConfig", GROUPED | {"num_local_experts": 2}),
    "gpt2": ("GPT2Config", GPT),
    "gpt_neo": (
        "GPTNeoConfig",
        {
            "vocab_size": 64,
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 64,
        },
    ),
    "gptj": ("GPTJConfig", GPT | {"rotary_dim": 4}),
    "gpt_neox": ("GPTNeoXConfig", ENCODER),
    "codegen": ("CodeGenConfig", GPT | {"rotary_dim": 4, "n_ctx": 64}),
    "falcon": ("FalconConfig", SMALL | {"multi_query": True}),
    "falcon-alibi": ("FalconConfig", SMALL | {"alibi": True, "new_decoder_architecture": False}),
    "mpt": ("MptConfig", {"vocab_size": 64, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}),
    "opt": (
        "OPTConfig",
        {
            "vocab_size": 64,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 48,
            "word_embed_proj_dim": 32,
            "max_position_embeddings": 64,
        },
    ),
    "opt-350m": (
        "OPTConfig",
        {
            "vocab_size": 64,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 48,
            "word_embed_proj_dim": 16,
            "do_layer_norm_before": False,
            "max_position_embeddings": 64,
        },
    ),
    "olmo": ("OlmoConfig", GROUPED),
    "olmo2": ("Olmo2Config", GROUPED),
    "qwen2": ("Qwen2Config", GROUPED),
    "qwen3": ("Qwen3Config", GROUPED),
    "phi3": ("Phi3Config", GROUPED | {"pad_token_id": 0}),
    "cohere": ("CohereConfig", GROUPED),
}
"""Causal language models: name -> configuration class and arguments."""

ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", ENCODER),
    "roberta": ("RobertaConfig", ENCODER | {"pad_token_id": 0, "max_position_embeddings": 66}),
    "mpnet": ("MPNetConfig", ENCODER | {"pad_token_id": 0, "max_position_embeddings": 66}),
    "distilbert": (
        "DistilBertConfig",
        {"vocab_size": 64, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64},
    ),
    "modernbert": ("ModernBertConfig", GROUPED | {"global_attn_every_n_layers": 2, "pad_token_id": 0}),
    "electra": ("ElectraConfig", ENCODER | {"embedding_size": 16}),
    "t5": (
        "T5Config",
        {"vocab_size": 64, "d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 48, "d_kv": 8},
    ),
}
"""Encoders and the encoder of an encoder-decoder."""


def special_tokens(family: str) -> dict[str, int]:
    """Ids of the special tokens, so that configurations of big vocabularies accept a small one."""
    return {} if family == "phi3" else {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 2}


def language_config(family: str) -> PretrainedConfig:
    """The configuration of a tiny model of a family."""
    name, arguments = (CAUSAL | ENCODERS)[family]
    return getattr(transformers, name)(**(special_tokens(family) | arguments))


def build(auto: Any, config: PretrainedConfig, seed: int = 0) -> PreTrainedModel:
    """A model with weights large enough that every layer matters."""
    torch.manual_seed(seed)
    model = auto.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.2)
    return model.eval()


def tokenizer(add_bos: bool = False) -> PreTrainedTokenizerFast:
    """Words ``w0`` .. ``w59`` split at white space."""
    vocabulary = {"<pad>": 0, "<unk>": 1, "<eos>": 2} | {f"w{i}": i + 3 for i in range(N_WORDS)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if add_bos:
        from tokenizers.processors import TemplateProcessing

        core.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>", model_max_length=60
    )


def wide_llama(folder: Path) -> str:
    """A llama of width 64 in a folder: bitsandbytes packs multiples of that on a CPU."""
    sizes = {"hidden_size": 64, "head_dim": 16, "intermediate_size": 128}
    config = transformers.LlamaConfig(**(special_tokens("llama") | GROUPED | sizes))
    build(transformers.AutoModelForCausalLM, config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def texts(n: int = 9, seed: int = 0) -> list[str]:
    """Texts of 1 to 12 words."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 13, (n,), generator=generator).tolist()
    return [
        " ".join(f"w{word}" for word in torch.randint(0, N_WORDS, (length,), generator=generator).tolist())
        for length in lengths
    ]


VISION_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
VISION: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTConfig", VISION_SIZES | {"image_size": 32, "patch_size": 8}),
    "deit": ("DeiTConfig", VISION_SIZES | {"image_size": 32, "patch_size": 8}),
    "dinov2": ("Dinov2Config", VISION_SIZES | {"image_size": 32, "patch_size": 8, "mlp_ratio": 2}),
    "dinov2_with_registers": (
        "Dinov2WithRegistersConfig",
        VISION_SIZES | {"image_size": 32, "patch_size": 8, "mlp_ratio": 2, "num_register_tokens": 3},
    ),
    "convnext": ("ConvNextConfig", {"depths": [1, 1, 2, 1], "hidden_sizes": [8, 16, 24, 32], "image_size": 32}),
    "clip_vision_model": ("CLIPVisionConfig", VISION_SIZES | {"image_size": 32, "patch_size": 8}),
    "siglip_vision_model": ("SiglipVisionConfig", VISION_SIZES | {"image_size": 32, "patch_size": 8}),
}
"""Hugging Face vision models."""


def vision_config(family: str) -> PretrainedConfig:
    """The configuration of a tiny vision model."""
    name, arguments = VISION[family]
    return getattr(transformers, name)(**arguments)


def clip_config() -> PretrainedConfig:
    """A tiny CLIP."""
    text = SMALL | {"max_position_embeddings": 24, "eos_token_id": 2, "bos_token_id": 2, "pad_token_id": 0}
    vision = VISION_SIZES | {"image_size": 32, "patch_size": 8}
    return transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)


def siglip_config() -> PretrainedConfig:
    """A tiny SigLIP."""
    text = SMALL | {"max_position_embeddings": 24, "pad_token_id": 0, "projection_size": 32}
    text |= {"bos_token_id": 2, "eos_token_id": 2}
    vision = VISION_SIZES | {"image_size": 32, "patch_size": 8}
    return transformers.SiglipConfig(text_config=text, vision_config=vision)


def images(n: int = 5, size: tuple[int, int] = (40, 36), seed: int = 0) -> list[Image.Image]:
    """Random pictures."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    return [Image.fromarray(array.numpy()) for array in pixels]
