"""Image-text models by name, through the lookup and loading that all models share."""

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from transformers import AutoImageProcessor
from transformers.utils import logging as logging_of_transformers

from interp_plugins.models.config import Dtype, HuggingFaceModelConfig, LoadOptions
from interp_plugins.models.fetching import clear_errors
from interp_plugins.models.huggingface import load_network, load_tokenizer, read_config
from interp_plugins.models.image_text.config import ImageTextOptions
from interp_plugins.models.image_text.two_towers import ImageTextModel
from interp_plugins.models.resolve import resolve_model
from interp_registry.errors import UsageError

__all__ = ["load_image_text", "options_of", "weights_digest", "without_bars"]

FAMILIES = ("clip", "siglip")
_DTYPES: dict[str, Dtype] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def load_image_text(name: str, options: ImageTextOptions | None = None, device: str = "cpu") -> ImageTextModel:
    """Load a CLIP or SigLIP with its tokenizer and image processor, in evaluation mode.

    Args:
        name: A model of the embedded zoo (`clip-bow`, `clip-comp`), a folder, or a name of the hub.
        options: How to load and run it.
        device: Where to.

    Raises:
        OfflineError: The files are not here and cannot be fetched.
        UsageError: The model is of another family, or a file is missing from its folder.
    """
    options = options or ImageTextOptions()
    found = resolve_model(name, options_of(options, device))
    config = found.config
    if not isinstance(config, HuggingFaceModelConfig) or config.tower:
        raise UsageError(f"{name!r} is a {found.modality} model", f"expected one of {', '.join(FAMILIES)}")
    if options.revision is not None and not Path(config.name).is_dir():
        config = dataclasses.replace(config, revision=options.revision)
    with clear_errors(config.name), without_bars():
        hub = read_config(config.name, config.revision)
        if hub.model_type not in FAMILIES:
            raise UsageError(f"{name!r} is a {hub.model_type!r} model", f"expected one of {', '.join(FAMILIES)}")
        module = load_network(config, hub)
        tokenizer = load_tokenizer(config.name, config)
        processor = AutoImageProcessor.from_pretrained(
            config.name, revision=config.revision, backend="pil", trust_remote_code=False
        )
    revision = weights_digest(module)
    return ImageTextModel(module, tokenizer, processor, name=name, revision=revision, batch_size=options.batch_size)


def options_of(options: ImageTextOptions, device: str) -> LoadOptions:
    """The same options as every kind of model takes them."""
    return LoadOptions(dtype=_DTYPES[options.dtype], device=device)


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers' own progress bars off the console, which belongs to the shell."""
    shown = logging_of_transformers.is_progress_bar_enabled()
    logging_of_transformers.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging_of_transformers.enable_progress_bar()


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of all weights: changes whenever the model does."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
