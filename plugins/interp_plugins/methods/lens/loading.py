"""The language models that lenses read: looked up, loaded, frozen."""

from dataclasses import replace

from interp_plugins.methods.lens.parts import Parts
from interp_plugins.models.config import LoadOptions, ModelKind
from interp_plugins.models.language import CausalLanguageModel
from interp_plugins.models.resolve import ResolvedModel, resolve_model
from interp_registry.errors import UsageError

__all__ = ["freeze", "load_frozen", "resolve_language_model"]


def resolve_language_model(name: str, options: LoadOptions, kind: ModelKind, device: str) -> ResolvedModel:
    """Look a language model up; no weights are read.

    Args:
        name: As users write it.
        options: How it is loaded.
        kind: Where to look.
        device: Where to, when the options leave it open.

    Raises:
        UsageError: It reads no text.
    """
    if options.device == "auto":
        options = replace(options, device=device)
    found = resolve_model(name, options, kind)
    if found.modality != "language":
        raise UsageError(f"{name} is no language model", "choose one that predicts the next token")
    return found


def load_frozen(name: str, options: LoadOptions, kind: ModelKind, device: str) -> CausalLanguageModel:
    """A causal language model whose parameters take no gradient.

    Raises:
        UsageError: It predicts no next token.
    """
    return freeze(resolve_language_model(name, options, kind, device))


def freeze(resolved: ResolvedModel) -> CausalLanguageModel:
    """Load a model that was looked up; its parameters take no gradient.

    Raises:
        UsageError: It predicts no next token.
    """
    model = Parts(resolved.load()).model
    model.module.requires_grad_(requires_grad=False)
    return model
