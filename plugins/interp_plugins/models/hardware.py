"""Which device and number type to use, and what a device cannot do."""

import torch

from interp_plugins.models.config import Dtype, Quantize
from interp_registry.errors import UsageError
from interp_registry.hardware import best_dtype

__all__ = ["choose_device", "choose_dtype", "quantization_config"]

_NAMED = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device that a user named, or the best there is: the first GPU, Apple's MPS, the CPU.

    Raises:
        UsageError: This machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as err:
        raise UsageError(f"{name!r} is no device", "use cpu, cuda, cuda:1, mps or auto") from err
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device.type, False):
        raise UsageError(f"this machine has no device {name!r}", "use --device auto, or --device cpu")
    return device


def choose_dtype(name: Dtype, device: torch.device) -> torch.dtype:
    """The type of the weights: fp32 on CPU and MPS; on a GPU bf16 where the hardware computes in it, else fp16."""
    if name != "auto":
        return _NAMED[name]
    return best_dtype(device)


def quantization_config(quantize: Quantize, device: torch.device) -> object:
    """Settings for bitsandbytes: nf4 with double quantisation and bf16 products, or LLM.int8.

    Raises:
        UsageError: The device is Apple's MPS, which bitsandbytes does not support.
    """
    if device.type == "mps":
        raise UsageError(f"--quantize {quantize} needs bitsandbytes, which does not run on Apple's MPS", "leave it out")
    from transformers import BitsAndBytesConfig

    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = choose_dtype("auto", device)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
