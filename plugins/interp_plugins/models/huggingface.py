"""Loading models of the Hugging Face hub, of its cache and of local folders."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.utils.logging import disable_progress_bar

from interp_plugins.models.blocks import compile_blocks
from interp_plugins.models.config import HuggingFaceModelConfig
from interp_plugins.models.fetching import cached_commit, clear_errors, folder_digest, foreign_code
from interp_plugins.models.hardware import choose_device, choose_dtype, quantization_config, require_memory
from interp_registry.contracts.model import Modality, Model
from interp_registry.errors import DataError, UsageError
from interp_registry.tensors.hooked import HookedModel

__all__ = [
    "count_parameters",
    "is_causal",
    "load",
    "load_network",
    "load_tokenizer",
    "modality_of",
    "read_config",
    "revision_of",
]

logger = logging.getLogger(__name__)

_MOST_BLOCKS = 10_000
"""The deepest published transformers have a thousand; every block is built, without weights, when parameters are counted."""


def load(config: HuggingFaceModelConfig) -> Model:
    """Load a language model, vision model, two-tower model or one of its towers.

    Raises:
        InterpError: It cannot be had, does not fit, or is laid out in an unknown way; one line says which.
    """
    disable_progress_bar()
    with clear_errors(config.name):
        hub = read_config(config.name, config.revision, trust_remote_code=config.trust_remote_code)
        n_params = count_parameters(hub, trust_remote_code=config.trust_remote_code)
        if config.device_map is None:
            device = choose_device(config.device)
            require_memory(config.name, int(n_params * _bytes_per_weight(config, device)), device)
        with _packing_errors(config):
            model = _wrapped(config, hub, load_network(config, hub), n_params)
        if config.compile and isinstance(model, HookedModel):
            compile_blocks(model.sites)
        return model


@contextmanager
def _packing_errors(config: HuggingFaceModelConfig) -> Iterator[None]:
    """Bitsandbytes packs 4 bit weights for a CPU at the first forward pass, which is that of the check of the layers."""
    try:
        yield
    except RuntimeError as err:
        if config.quantize is None or "invalid for input of size" not in str(err):
            raise
        raise UsageError(
            f"--quantize {config.quantize}: bitsandbytes cannot pack {config.name} on this device",
            "on a CPU all widths must be multiples of 64",
        ) from err


def _bytes_per_weight(config: HuggingFaceModelConfig, device: torch.device) -> float:
    if config.quantize is not None:
        return {"4bit": 0.55, "8bit": 1.05}[config.quantize]
    return choose_dtype(config.dtype, device).itemsize


def read_config(name: str, revision: str | None = None, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The configuration of a model, without its weights.

    Raises:
        UsageError: It wants to run attention code of some repository, and ``trust_remote_code`` is not set.
        DataError: It states more blocks than any model has.
    """
    hub = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    parts = [hub, *(getattr(hub, key, None) for key in hub.sub_configs)]
    deepest = max((n for part in parts if isinstance(n := getattr(part, "num_hidden_layers", 0), int)), default=0)
    if deepest > _MOST_BLOCKS:
        raise DataError(f"{name}: its config.json states {deepest} blocks", f"at most {_MOST_BLOCKS} are built")
    if not trust_remote_code:
        for part in parts:
            wanted = [getattr(part, f"_{what}_implementation", None) for what in ("attn", "experts")]
            code = next((str(one) for one in wanted if "/" in str(one)), None)
            if code is not None:
                raise foreign_code(name, f"its config.json asks for the compiled code {code!r}")
    return hub


def modality_of(hub: PretrainedConfig) -> Modality:
    """What a model takes, read off its configuration: two towers, an image, or text."""
    if getattr(hub, "text_config", None) is not None and getattr(hub, "vision_config", None) is not None:
        return "two_tower"
    vision = hasattr(hub, "image_size") or hub.model_type in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    return "vision" if vision else "language"


def is_causal(hub: PretrainedConfig) -> bool:
    """Whether a checkpoint predicts next tokens: its family can, and it is not stored as an encoder of that family."""
    if hub.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return False
    named = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[hub.model_type]
    return named in (hub.architectures or []) or hub.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def count_parameters(hub: PretrainedConfig, *, trust_remote_code: bool = False) -> int:
    """Number of parameters, tied ones once, counted on the meta device: no weights are read and none allocated."""
    with torch.device("meta"):
        network = _auto_class(hub).from_config(hub, trust_remote_code=trust_remote_code)
    network.tie_weights()
    return sum(parameter.numel() for parameter in network.parameters())


def revision_of(name: str, revision: str | None = None, *, trust_remote_code: bool = False) -> str:
    """What identifies the weights: a digest of a local folder, or the commit on the hub."""
    folder = Path(name)
    if folder.is_dir():
        return folder_digest(folder)
    with clear_errors(name):
        read = read_config(name, revision, trust_remote_code=trust_remote_code)
        commit = getattr(read, "_commit_hash", None) or cached_commit(name, "config.json", revision)
    return str(commit or revision or "main")


def _auto_class(hub: PretrainedConfig) -> Any:
    return AutoModelForCausalLM if is_causal(hub) else AutoModel


def load_network(config: HuggingFaceModelConfig, hub: PretrainedConfig) -> PreTrainedModel:
    """The network of a configuration on its device, in evaluation mode; without wrapping, tokenizer or image processor.

    Raises:
        UsageError: Its files lack weights of blocks that its configuration states.
    """
    device = choose_device(config.device)
    if config.untrained:
        return _untrained(config, hub, device)
    options: dict[str, Any] = {
        "dtype": choose_dtype(config.dtype, device),
        "revision": config.revision,
        "trust_remote_code": config.trust_remote_code,
    }
    if config.quantize is not None:
        options["quantization_config"] = quantization_config(config.quantize, device)
        options["device_map"] = config.device_map or {"": str(device)}
    elif config.device_map is not None:
        options["device_map"] = config.device_map
    network, loaded = _auto_class(hub).from_pretrained(config.name, output_loading_info=True, **options)
    _refuse_random_blocks(config.name, network, loaded["missing_keys"])
    if "device_map" not in options:
        network = network.to(device)
    return network.eval()


def _refuse_random_blocks(name: str, network: PreTrainedModel, missing: Collection[str]) -> None:
    """Transformers fills what the files lack with random numbers; a pooler may lack, the weights of a numbered block may not.

    Raises:
        UsageError: Weights of a block are missing.
    """
    learned = {key for key, _ in network.named_parameters()}.intersection(missing)
    lacking = sorted(key for key in learned if any(part.isdigit() for part in key.split(".")))
    if lacking:
        raise UsageError(
            f"{name} states blocks whose weights its files lack: {lacking[0]} and {len(lacking) - 1} more",
            "its config.json and its weights do not belong together, or its download is not complete",
        )


def _untrained(config: HuggingFaceModelConfig, hub: PretrainedConfig, device: torch.device) -> PreTrainedModel:
    if config.quantize is not None:
        raise UsageError("an untrained model is not quantised", "leave --quantize out")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = _auto_class(hub).from_config(hub, trust_remote_code=config.trust_remote_code)
    return network.to(device, choose_dtype(config.dtype, device)).eval()


def _wrapped(config: HuggingFaceModelConfig, hub: PretrainedConfig, network: PreTrainedModel, n_params: int) -> Model:
    suffix = f"-untrained-{config.seed}" if config.untrained else ""
    facts = {
        "name": config.label or config.name,
        "revision": revision_of(config.name, config.revision, trust_remote_code=config.trust_remote_code) + suffix,
        "n_params": n_params,
        "dtype": config.quantize or str(network.dtype).removeprefix("torch."),
    }
    modality = modality_of(hub)
    if modality == "vision":
        from interp_plugins.models.vision import wrap_vision_model

        return wrap_vision_model(network, _processor(config), facts)
    tokenizer = load_tokenizer(config.tokenizer or config.name, config)
    if modality == "language":
        from interp_plugins.models.language import wrap_language_model

        return wrap_language_model(network, tokenizer, facts, config.max_length)
    from interp_plugins.models.two_tower import wrap_two_tower

    model = wrap_two_tower(network, tokenizer, _processor(config), facts)
    return model.tower(config.tower) if config.tower else model


def _processor(config: HuggingFaceModelConfig) -> Any:
    from interp_plugins.models.vision import load_processor

    return load_processor(config.name, config.revision, trust_remote_code=config.trust_remote_code)


def load_tokenizer(name: str, config: HuggingFaceModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of a hub name or a folder.

    Raises:
        UsageError: There is none.
    """
    folder = Path(name)
    # without any file transformers makes an empty tokenizer, which would turn every text into nothing
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in ("tokenizer*", "vocab*", "*.model")):
        raise UsageError(f"{name} has no tokenizer", "name one with --tokenizer")
    revision = config.revision if name == config.name else None
    return AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=config.trust_remote_code)
