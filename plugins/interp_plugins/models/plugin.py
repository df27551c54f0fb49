"""The models of the tool: Hugging Face and timm."""

from typing import TYPE_CHECKING

from interp_registry import hookimpl

if TYPE_CHECKING:
    from interp_registry.choices import Registry

INTERP_API = 1


@hookimpl
def register(registry: "Registry") -> None:
    """Add the loaders."""
    from interp_plugins.models.config import HuggingFaceModelConfig, TimmModelConfig

    registry.add("model", "huggingface", HuggingFaceModelConfig)
    registry.add("model", "timm", TimmModelConfig)
