"""A model that is already in memory, as the contract has it."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interp_plugins.models.huggingface import modality_of
from interp_plugins.models.language import wrap_language_model
from interp_plugins.models.timm import state_digest, wrap_timm_model
from interp_registry.contracts.model import Model
from interp_registry.errors import UsageError

__all__ = ["wrap_module"]


def wrap_module(module: nn.Module, tokenizer: PreTrainedTokenizerBase | None = None, name: str = "") -> Model:
    """Wrap a Hugging Face language model (with its tokenizer) or a timm model that a program has built or changed.

    Args:
        module: The network; it is put in evaluation mode.
        tokenizer: Needed for a language model.
        name: For messages; the class's name when empty.

    Raises:
        UsageError: It is of no kind that can be wrapped.
    """
    module.eval()
    facts: dict[str, Any] = {"name": name or type(module).__name__, "revision": state_digest(module)}
    if not isinstance(module, PreTrainedModel):
        if not hasattr(module, "forward_features"):
            raise UsageError(
                f"{type(module).__name__} is neither a Hugging Face nor a timm model",
                "derive from interp_registry.tensors.hooked.HookedModel",
            )
        return wrap_timm_model(module, facts)
    if tokenizer is None or modality_of(module.config) != "language":
        raise UsageError(f"{type(module).__name__} needs a tokenizer", "pass tokenizer=")
    facts["n_params"] = sum(parameter.numel() for parameter in module.parameters())
    facts["dtype"] = str(module.dtype).removeprefix("torch.")
    return wrap_language_model(module, tokenizer, facts)
