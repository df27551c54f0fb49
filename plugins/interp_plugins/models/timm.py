"""Loading timm models: vision transformers, and networks of stages with their ragged widths."""

import hashlib
import json
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn

from interp_plugins.models.blocks import compile_blocks
from interp_plugins.models.config import TimmModelConfig
from interp_plugins.models.fetching import cached_commit, clear_errors, folder_digest
from interp_plugins.models.hardware import choose_device, choose_dtype
from interp_plugins.models.vision import VisionModel, vision_default_layers
from interp_registry.contracts.model import ModelInfo
from interp_registry.errors import InterpError, UsageError
from interp_registry.tensors.capture import Site, capture_sites
from interp_registry.tensors.layers import Layer

__all__ = ["load", "revision_of", "state_digest", "wrap_timm_model"]


def load(config: TimmModelConfig) -> VisionModel:
    """Load a timm model by its name, or from a local folder.

    Raises:
        InterpError: It cannot be had, or names no stages that could be read; one line says which.
    """
    if config.quantize is not None or config.device_map is not None:
        raise UsageError(f"{config.name}: timm models are neither quantised nor spread over devices", "leave it out")
    device = choose_device(config.device)
    with clear_errors(config.name):
        network = _network(config)
    suffix = f"-untrained-{config.seed}" if config.untrained else ""
    network = network.to(device, choose_dtype(config.dtype, device)).eval()
    facts = {"name": config.label or config.name, "revision": revision_of(config.name) + suffix}
    model = wrap_timm_model(network, facts)
    if config.compile:
        compile_blocks(model.sites)
    return model


def revision_of(name: str) -> str:
    """What identifies the weights: digest of a local folder, commit on the hub, or a digest of where they come from."""
    folder = Path(name)
    if folder.is_dir():
        return folder_digest(folder)
    if not timm.is_model(name):
        raise InterpError(f"timm has no model {name!r}")
    settings = timm.models.get_pretrained_cfg(name)
    if settings is None:
        return "untagged"
    repo = getattr(settings, "hf_hub_id", None)
    for file in (
        "model.safetensors",
        "open_clip_model.safetensors",
        "pytorch_model.bin",
        "open_clip_pytorch_model.bin",
    ):
        commit = cached_commit(repo.removesuffix("/"), file, None) if repo and repo.count("/") == 1 else None
        if commit is not None:
            return commit
    known = {key: str(value) for key, value in settings.to_dict().items() if key in {"url", "hf_hub_id", "tag"}}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def state_digest(module: nn.Module) -> str:
    """SHA-256 (16 hex digits) of a network's weights, for one that has neither folder nor repository."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}:".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _network(config: TimmModelConfig) -> nn.Module:
    name = f"local-dir:{config.name}" if Path(config.name).is_dir() else config.name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return timm.create_model(name, pretrained=not config.untrained)


def wrap_timm_model(network: Any, facts: dict[str, Any]) -> VisionModel:
    """Find the layers of a loaded timm model and wrap it.

    A vision transformer's layers are its blocks (0: the input of the first, ``L.pre_norm``: the output of the last,
    ``L``: after the final norm). Any other network's layers are the stages that it names in ``feature_info``.

    Raises:
        InterpError: It names no stages.
    """
    sites = _sites(network)
    settings = _data_settings(network)
    size = settings["input_size"]
    parameter = next(network.parameters())
    probe = torch.linspace(-1, 1, size[0] * size[1] * size[2], device=parameter.device).reshape(1, *size)
    with torch.inference_mode(), capture_sites(sites) as capture:
        final = network.forward_features(probe.to(parameter.dtype))
    values: dict[Layer, Tensor] = capture.take()
    last = max(sites)
    if not last.pre_norm and not torch.equal(values[last], final):
        del sites[last]
    spatial = any(value.ndim == 4 for value in values.values()) and getattr(network, "output_fmt", "NCHW") != "NHWC"
    info = ModelInfo(
        modality="vision",
        n_params=sum(weight.numel() for weight in network.parameters()),
        layers=tuple(sorted(sites)),
        widths={layer: values[layer].shape[1 if spatial and values[layer].ndim == 4 else -1] for layer in sites},
        default_layers=vision_default_layers(list(sites)),
        dtype=str(parameter.dtype).removeprefix("torch."),
        n_prefix_tokens=getattr(network, "num_prefix_tokens", 0),
        spatial=spatial,
        details={"architecture": type(network).__name__, "family": "timm", "input_size": list(size)},
        **facts,
    )
    transform: Any = create_transform(**settings, is_training=False)
    head = network.forward_head if getattr(network, "num_classes", 0) else None
    return VisionModel(network, info, sites, transform, features=network.forward_features, head=head)


def _data_settings(network: nn.Module) -> dict[str, Any]:
    """Size, crop, interpolation, mean and deviation; the size is that of the network where it was built for another one."""
    settings = resolve_model_data_config(network)
    size = getattr(getattr(network, "patch_embed", None), "img_size", None)
    return settings | ({"input_size": (settings["input_size"][0], *size)} if size else {})


def _sites(network: Any) -> dict[Layer, Site]:
    """Sites of the stages that timm lists; a transformer also gets its embeddings and its final norm."""
    named = [entry["module"] for entry in getattr(network, "feature_info", []) or []]
    if not named:
        raise InterpError(f"{type(network).__name__} names no stages (feature_info), so its layers cannot be addressed")
    modules = [network.get_submodule(name) for name in named]
    sites = {Layer(number): Site(module) for number, module in enumerate(modules[:-1], start=1)}
    sites[Layer(len(modules), pre_norm=True)] = Site(modules[-1])
    if len({type(module) for module in modules}) == 1 and isinstance(getattr(network, "norm", None), nn.Module):
        sites |= {Layer(0): Site(modules[0], "input"), Layer(len(modules)): Site(network.norm)}
    return sites
