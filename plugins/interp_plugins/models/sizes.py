"""How large a model is, known before its weights are read: its parameters are counted on the meta device."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interp_plugins.models.config import HuggingFaceModelConfig, TimmModelConfig
from interp_plugins.models.resolve import ResolvedModel, resolve_model
from interp_registry.errors import InterpError, UnknownNameError
from interp_registry.hardware import free_memory

__all__ = ["ModelCheck", "ModelSize", "available_memory", "check_models", "size_of", "smallest_first"]

_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


@dataclass(frozen=True)
class ModelSize:
    """The size of a model."""

    n_params: int
    """Parameters, tied ones once."""
    n_layers: int
    """Layers that are captured by default."""
    width: int
    """Width of the last layer."""
    local: bool
    """Whether the weights are on this machine."""


@dataclass(frozen=True)
class ModelCheck:
    """What is known about a name of a model set."""

    name: str
    exists: bool | None
    """None when the hub could not be asked."""
    n_params: int | None = None
    memory_bytes: int | None = None
    """Weights as they would be loaded here."""
    fits: bool | None = None
    """Whether they fit in the memory of this machine."""
    local: bool = False
    """Whether the weights are on this machine."""
    note: str = ""
    """Why something is not known, or what is wrong with the name."""


def size_of(model: ResolvedModel) -> ModelSize:
    """Count a model's parameters and layers without its weights.

    Raises:
        InterpError: Its configuration cannot be had, or its kind cannot be counted.
    """
    config = model.config
    if isinstance(config, TimmModelConfig):
        return _timm_size(config)
    if isinstance(config, HuggingFaceModelConfig):
        return _huggingface_size(config)
    raise InterpError(f"the size of {model.name} is known only to its plugin")


def _timm_size(config: TimmModelConfig) -> ModelSize:
    import timm

    folder = Path(config.name)
    name = f"local-dir:{config.name}" if folder.is_dir() else config.name
    with torch.device("meta"):
        network: Any = timm.create_model(name, pretrained=False)
    from interp_plugins.models.fetching import cached_commit

    repo = network.pretrained_cfg.get("hf_hub_id")
    cached = bool(repo) and cached_commit(str(repo).removesuffix("/"), "model.safetensors", None) is not None
    return ModelSize(
        n_params=sum(parameter.numel() for parameter in network.parameters()),
        n_layers=len(network.feature_info),
        width=int(network.num_features),
        local=folder.is_dir() or cached or config.untrained,
    )


def _huggingface_size(config: HuggingFaceModelConfig) -> ModelSize:
    from interp_plugins.models.fetching import cached_commit, clear_errors
    from interp_plugins.models.huggingface import count_parameters, read_config

    with clear_errors(config.name):
        hub: Any = read_config(config.name, config.revision, trust_remote_code=config.trust_remote_code)
        n_params = count_parameters(hub, trust_remote_code=config.trust_remote_code)
    part = getattr(hub, f"{config.tower}_config") if config.tower else hub.get_text_config()
    depths = getattr(part, "depths", None)
    here = Path(config.name).is_dir() or config.untrained
    return ModelSize(
        n_params=n_params,
        n_layers=(len(depths) if depths else part.num_hidden_layers) + 1,
        width=int(part.hidden_size if hasattr(part, "hidden_size") else part.hidden_sizes[-1]),
        local=here or any(cached_commit(config.name, file, config.revision) for file in _WEIGHT_FILES),
    )


def smallest_first(models: list[ResolvedModel]) -> list[ResolvedModel]:
    """Models by their number of parameters; those of unknown size keep their order at the end."""

    def parameters(model: ResolvedModel) -> float:
        try:
            return size_of(model).n_params
        except InterpError:
            return float("inf")

    return sorted(models, key=parameters)


def available_memory() -> int:
    """Bytes that weights could take: the memory of the largest GPU, or what the main memory has free."""
    if torch.cuda.is_available():
        return max(torch.cuda.mem_get_info(index)[1] for index in range(torch.cuda.device_count()))
    return free_memory(torch.device("cpu")) or 8 << 30


def check_models(names: list[str], memory_bytes: int | None = None, bytes_per_weight: float = 4.0) -> list[ModelCheck]:
    """What is known of each name: whether it exists, its size, and whether it fits.

    Args:
        names: Model names.
        memory_bytes: Memory to fit in; that of this machine when not given.
        bytes_per_weight: 4 for fp32, 2 for bf16, 0.55 for 4 bit.
    """
    memory = available_memory() if memory_bytes is None else memory_bytes
    return [_check(name, memory, bytes_per_weight) for name in names]


def _check(name: str, memory_bytes: int, bytes_per_weight: float) -> ModelCheck:
    try:
        size = size_of(resolve_model(name))
    except UnknownNameError as err:
        return ModelCheck(name, exists=False, note=str(err))
    except InterpError as err:
        return ModelCheck(name, exists=None, note=err.message)
    needed = int(size.n_params * bytes_per_weight)
    return ModelCheck(name, True, size.n_params, needed, needed * 1.2 < memory_bytes, size.local)
