"""The models of the tool: Hugging Face and timm."""

from interp_plugins.models.config import HuggingFaceModelConfig, TimmModelConfig
from interp_registry import hookimpl
from interp_registry.choices import Registry

INTERP_API = 1


@hookimpl
def register(registry: Registry) -> None:
    """Add the loaders."""
    registry.add("model", "huggingface", HuggingFaceModelConfig)
    registry.add("model", "timm", TimmModelConfig)
