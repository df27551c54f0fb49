"""Configuration of the models that ship with the tool."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from interp_registry.choices import ModelConfig

__all__ = ["Dtype", "HuggingFaceModelConfig", "LoadOptions", "ModelKind", "Quantize", "TimmModelConfig"]

Dtype = Literal["auto", "fp32", "bf16", "fp16"]
"""``auto``: fp32 on a CPU and on Apple's MPS, bf16 on a GPU that computes in it, else fp16."""

Quantize = Literal["4bit", "8bit"]
"""``4bit``: nf4 with double quantisation; ``8bit``: LLM.int8. Both through bitsandbytes."""


ModelKind = Literal["auto", "embedded", "huggingface", "timm", "plugin"]
"""Where a name is looked up. ``auto`` asks each in turn: the embedded zoo, plugins, local folders, timm, the hub."""


@dataclass
class LoadOptions:
    """How weights are loaded, whatever the model; every field has a meaning for every kind or is refused by it."""

    dtype: Dtype = "auto"
    """Type of the weights: auto (by hardware), fp32, bf16 or fp16."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``; auto takes the best there is."""
    quantize: Quantize | None = None
    """Load language models in 4bit or 8bit (bitsandbytes, Linux)."""
    device_map: str | None = None
    """``auto`` spreads a model that is larger than one device over all of them."""
    compile: bool = False
    """Compile each block with torch.compile: slower to start, faster on long runs."""
    tokenizer: str | None = None
    """Name or folder of the tokenizer, where it is not the model's own."""
    max_length: int | None = None
    """Cut longer texts to this many tokens; the model's context length when it is not given."""
    untrained: bool = False
    """Draw the weights from ``seed`` in place of loading them: the control."""
    seed: int = 0
    """Seed of the weights of an untrained model."""
    trust_remote_code: bool = field(default=False, metadata={"command_line_only": True})
    """Run the Python code that some repositories bring. It can do anything; recorded in the manifest, and no file can ask for it."""


@dataclass
class HuggingFaceModelConfig(LoadOptions, ModelConfig):
    """A model of the Hugging Face hub, of its cache, or in a local folder."""

    impl: ClassVar[str] = "interp_plugins.models.huggingface:load"

    name: str = ""
    """Name on the hub (``openai-community/gpt2``) or path of a folder with a ``config.json``."""
    label: str = ""
    """Name in stores and reports; the name itself when empty."""
    revision: str | None = None
    """Branch, tag or commit; the default branch when it is not given."""
    tower: Literal["", "text", "vision"] = ""
    """Which half of a two-tower model (CLIP, SigLIP); the whole model when empty."""


@dataclass
class TimmModelConfig(LoadOptions, ModelConfig):
    """A vision model of timm, or a local folder that timm saved."""

    impl: ClassVar[str] = "interp_plugins.models.timm:load"

    name: str = ""
    """Name with its tag (``vit_tiny_patch16_224.augreg_in21k``) or path of a folder with a ``config.json``."""
    label: str = ""
    """Name in stores and reports; the name itself when empty."""
