"""Which device and number type to use, and what a device cannot do."""

import importlib.util
import logging

import torch

from interp_plugins.models.config import Dtype, Quantize
from interp_registry.errors import MissingDependencyError, ResourceError, UsageError
from interp_registry.hardware import best_dtype, free_memory

__all__ = ["choose_device", "choose_dtype", "quantization_config", "require_memory"]

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
        MissingDependencyError: bitsandbytes is not installed.
    """
    if device.type == "mps":
        raise UsageError(f"--quantize {quantize} needs bitsandbytes, which does not run on Apple's MPS", "leave it out")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependencyError(
            f"--quantize {quantize} needs bitsandbytes, which is not installed here", "pip install bitsandbytes (Linux)"
        )
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of the cast to fp16 at every 8 bit product

    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = choose_dtype("auto", device)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def require_memory(name: str, n_bytes: int, device: torch.device) -> None:
    """Refuse weights that a device cannot hold, before they are read: a CPU's kernel would kill the process instead.

    Args:
        name: Of the model.
        n_bytes: What its weights take.
        device: Where they go.

    Raises:
        ResourceError: The device has less than that free.
    """
    free = free_memory(device)
    if free and n_bytes > free:
        raise ResourceError(
            f"{name} needs {n_bytes / 2**30:.1f} GiB of memory for its weights, and {device} has {free / 2**30:.1f} GiB free",
            "try --dtype bf16, --quantize 4bit or --device-map auto",
        )
