"""Vision models: transformers of tokens and convolutional networks of stages, from Hugging Face."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn

from interp_plugins.models.blocks import check_sites, transformer_sites
from interp_registry.contracts.model import Batch, Encoded, ModelInfo, Output
from interp_registry.errors import DataError, InterpError, UsageError
from interp_registry.tensors.capture import Site
from interp_registry.tensors.hooked import HookedModel
from interp_registry.tensors.layers import Layer

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["VisionModel", "load_processor", "vision_default_layers", "wrap_vision_model"]

Transform = Callable[[Image.Image], Tensor]
"""From an RGB image to the network's [c, h, w] input."""


class VisionModel(HookedModel):
    """A network that reads images.

    Args:
        module: The network.
        info: What is known about it.
        sites: Where its layers can be seen.
        transform: From an RGB image to the network's input.
        features: From the network's input batch to its final representation.
        head: From that to class logits; None where there is none.
    """

    def __init__(
        self,
        module: nn.Module,
        info: ModelInfo,
        sites: dict[Layer, Site],
        transform: Transform,
        *,
        features: Callable[[Tensor], Tensor],
        head: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(module, info, sites)
        self._transform, self._features, self._head = transform, features, head
        self._dtype = next(module.parameters()).dtype

    def preprocess(self, samples: Sequence[Any]) -> list[Encoded]:
        """Resize, crop and normalise images as the model was trained; a ``[c, h, w]`` tensor is taken as it is.

        Raises:
            DataError: A sample is neither an image nor a tensor.
        """
        return [self._encoded(row, sample) for row, sample in enumerate(samples)]

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Stack the images."""
        return Batch({"pixel_values": torch.stack([item.inputs["pixel_values"] for item in encoded])})

    def run(self, batch: Batch, *, logits: bool) -> Output:
        """The final representation, and class logits if asked.

        Raises:
            UsageError: Logits were asked of a model without a classifier.
        """
        hidden = self._features(batch.inputs["pixel_values"].to(self._dtype))
        if not logits:
            return Output(hidden)
        if self._head is None:
            raise UsageError(f"{self.info.name} has no classifier, so it gives no logits")
        return Output(hidden, self._head(hidden))

    def _encoded(self, row: int, sample: Any) -> Encoded:
        if isinstance(sample, Image.Image):
            return Encoded({"pixel_values": self._transform(sample.convert("RGB"))})
        if isinstance(sample, Tensor) and sample.ndim == 3:
            return Encoded({"pixel_values": sample.float()})
        raise DataError(f"sample {row} is a {type(sample).__name__}, and a vision model reads images")


def vision_default_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Blocks 1..L-1 and the last block before the final norm."""
    last = max(layers)
    ends = [layer for layer in sorted(layers) if layer.index == last.index]
    return (*(layer for layer in sorted(layers) if 0 < layer.index < last.index), ends[0])


def load_processor(name: str, revision: str | None, *, trust_remote_code: bool = False) -> Transform:
    """A Hugging Face image processor as a function of one image."""
    from transformers import AutoImageProcessor  # takes a second, which models of timm are spared

    # without the last argument transformers asks on the terminal whether to run what the repository brings
    processor = AutoImageProcessor.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)

    def transform(image: Image.Image) -> Tensor:
        return torch.as_tensor(processor(images=image, return_tensors="pt")["pixel_values"][0])

    return transform


def wrap_vision_model(network: "PreTrainedModel", transform: Transform, facts: dict[str, Any]) -> VisionModel:
    """Find and check the layers of a loaded Hugging Face vision model, and wrap it.

    Args:
        network: A vision model or the vision tower of a two-tower model, in evaluation mode.
        transform: Its image processor.
        facts: ``name``, ``revision``, ``n_params``, ``dtype`` for the model's info.

    Raises:
        InterpError: The layers that hooks see are not the model's hidden states.
    """
    base = network.base_model
    config = network.config
    sites = transformer_sites(base, _n_layers(config))
    probe = _probe(network)
    values = check_sites(facts["name"], sites, lambda: base(pixel_values=probe, output_hidden_states=True))
    first = values[min(values)]
    spatial = first.ndim == 4
    info = ModelInfo(
        modality="vision",
        layers=tuple(sorted(sites)),
        widths={layer: value.shape[1 if spatial else -1] for layer, value in values.items()},
        default_layers=vision_default_layers(list(sites)),
        n_prefix_tokens=0 if spatial else _n_prefix(config, first.shape[1]),
        spatial=spatial,
        details={"architecture": type(network).__name__, "family": config.model_type},
        **facts,
    )
    return VisionModel(
        network, info, sites, transform, features=lambda pixels: base(pixel_values=pixels).last_hidden_state
    )


def _n_layers(config: "PretrainedConfig") -> int:
    for name in ("num_hidden_layers", "num_stages"):
        number = getattr(config, name, None)
        if isinstance(number, int):
            depths = getattr(config, "depths", None)
            return len(depths) if depths else number
    depths = getattr(config, "depths", None)
    if not depths:
        raise InterpError(f"the configuration of a {config.model_type} names no number of layers")
    return len(depths)


def _image_size(config: "PretrainedConfig") -> tuple[int, int]:
    size = getattr(config, "image_size", 224)
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _probe(network: "PreTrainedModel") -> Tensor:
    parameter = next(network.parameters())
    channels = getattr(network.config, "num_channels", 3)
    ramp = torch.linspace(-1, 1, channels * _image_size(network.config)[0] * _image_size(network.config)[1])
    return ramp.reshape(1, channels, *_image_size(network.config)).to(parameter.device, parameter.dtype)


def _n_prefix(config: "PretrainedConfig", n_tokens: int) -> int:
    """Class and register tokens: what is left over of the tokens when the patches are taken off."""
    patch = getattr(config, "patch_size", None)
    if not isinstance(patch, int):
        return 0
    height, width = _image_size(config)
    return max(n_tokens - (height // patch) * (width // patch), 0)
