"""Find and load image-text models."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer
from transformers.utils import logging as logging_of_transformers

from interp_plugins.embedded import zoo
from interp_plugins.models.image_text.config import ImageTextOptions
from interp_plugins.models.image_text.two_towers import ImageTextModel
from interp_registry.errors import MissingDependencyError, OfflineError, UsageError

__all__ = ["load_image_text", "weights_digest", "without_bars"]

FAMILIES = ("clip", "siglip")
_log = logging.getLogger(__name__)


def load_image_text(name: str, options: ImageTextOptions | None = None, device: str = "cpu") -> ImageTextModel:
    """Load a CLIP or SigLIP with its tokenizer and image processor, in evaluation mode.

    Args:
        name: A model of the embedded zoo (`clip-bow`, `clip-comp`), a folder, or a name of the hub.
        options: How to load and run it.
        device: Where to.

    Raises:
        OfflineError: The files are not here and cannot be fetched.
        MissingDependencyError: A model of the zoo has no weights in this installation.
        UsageError: The model is of another family, or a file is missing from its folder.
    """
    options = options or ImageTextOptions()
    source, local = _source(name)
    version: dict[str, Any] = {} if local else {"revision": options.revision}
    try:
        family = AutoConfig.from_pretrained(source, **version).model_type
        if family not in FAMILIES:
            raise UsageError(f"{name!r} is a {family!r} model", f"expected one of {', '.join(FAMILIES)}")
        with without_bars():
            module = AutoModel.from_pretrained(source, dtype=getattr(torch, options.dtype), **version)
        tokenizer = AutoTokenizer.from_pretrained(source, **version)
        processor = AutoImageProcessor.from_pretrained(source, backend="pil", **version)
    except (OSError, ValueError) as err:
        raise _load_error(name, local, err) from err
    module.eval().to(device)
    revision = weights_digest(module)
    return ImageTextModel(module, tokenizer, processor, name=name, revision=revision, batch_size=options.batch_size)


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


def _source(name: str) -> tuple[str, bool]:
    if name in zoo.names("clip") + zoo.names("clip", untrained=True):
        folder = zoo.folder(name)
        if not folder.is_dir():
            raise MissingDependencyError(
                f"the zoo model {name!r} has no weights in this installation", "make them with `interp zoo build`"
            )
        return str(folder), True
    folder = Path(name).expanduser()
    return (str(folder), True) if folder.is_dir() else (name, False)


def _load_error(name: str, local: bool, err: Exception) -> UsageError | OfflineError:
    first = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
    _log.debug("loading %s failed", name, exc_info=err)
    if local:
        return UsageError(f"the folder {name!r} holds no image-text model: {first}")
    return OfflineError(
        f"{name!r} is neither an embedded model, nor a folder, nor in the cache of the hub: {first}",
        f"embedded: {', '.join(zoo.names('clip'))}; or fetch it where there is a network with `hf download {name}`",
    )


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of all weights: changes whenever the model does."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
