"""Two-tower models (CLIP, SigLIP): each tower a model of its own, and joint embeddings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interp_plugins.models.blocks import check_sites, transformer_sites
from interp_plugins.models.texts import TextEncoder
from interp_plugins.models.vision import Transform, VisionModel, wrap_vision_model
from interp_registry.contracts.model import Batch, Encoded, ModelInfo, Output
from interp_registry.errors import UsageError
from interp_registry.tensors.capture import Site
from interp_registry.tensors.hooked import HookedModel
from interp_registry.tensors.layers import Layer

__all__ = ["TextTower", "TwoTowerModel", "wrap_two_tower"]


class TextTower(HookedModel):
    """The text half of a two-tower model."""

    def __init__(self, module: nn.Module, info: ModelInfo, encoder: TextEncoder, sites: dict[Layer, Site]) -> None:
        super().__init__(module, info, sites)
        self._encoder = encoder

    def preprocess(self, samples: Sequence[str]) -> list[Encoded]:
        """Token ids of each text."""
        return self._encoder.encode(samples)

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Pad a batch on the right (SigLIP: always to its full length, as it was trained)."""
        return self._encoder.collate(encoded)

    def run(self, batch: Batch, *, logits: bool) -> Output:
        """Hidden states of the text tower.

        Raises:
            UsageError: Logits were asked for.
        """
        if logits:
            raise UsageError(f"{self.info.name} has no language-modelling head", "use a causal language model")
        return Output(self._module(**batch.inputs).last_hidden_state)


class TwoTowerModel(HookedModel):
    """A whole two-tower model; its layers are those of both towers, prefixed ``text:`` and ``vision:``."""

    def __init__(self, network: PreTrainedModel, text: TextTower, vision: VisionModel, facts: dict[str, Any]) -> None:
        sites: dict[Layer, Site] = {}
        widths: dict[Layer, int] = {}
        default: list[Layer] = []
        for name, model in {"text": text, "vision": vision}.items():
            sites |= {replace(layer, tower=name): site for layer, site in model.sites.items()}
            widths |= {replace(layer, tower=name): width for layer, width in model.info.widths.items()}
            default += [replace(layer, tower=name) for layer in model.info.default_layers]
        info = ModelInfo(
            modality="two_tower",
            layers=tuple(sorted(sites)),
            widths=widths,
            default_layers=tuple(default),
            details={"architecture": type(network).__name__, "family": network.config.model_type},
            **facts,
        )
        super().__init__(network, info, sites)
        self._text, self._vision = text, vision

    def tower(self, name: Literal["text", "vision"]) -> TextTower | VisionModel:
        """One of the towers as a model of its own."""
        return self._text if name == "text" else self._vision

    @property
    def logit_scale(self) -> float:
        """Factor between cosine similarities and logits: the exponential of the learned parameter."""
        return float(self._module.logit_scale.detach().exp())  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]

    def preprocess(self, samples: Sequence[Any]) -> list[Encoded]:
        """Encode texts and images alike, each by its own tower."""
        return [(self._text if isinstance(sample, str) else self._vision).preprocess([sample])[0] for sample in samples]

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Put samples of one kind together."""
        return (self._text if "input_ids" in encoded[0].inputs else self._vision).collate(encoded)

    def run(self, batch: Batch, *, logits: bool) -> Output:
        """Run the tower that the batch is for."""
        return (self._text if "input_ids" in batch.inputs else self._vision).run(batch, logits=logits)

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "b e"]:
        """Joint embeddings of texts, of unit length; differentiable."""
        batch = self._text.collate(self._text.preprocess(texts)).to(self.device)
        return _unit(self._module.get_text_features(**batch.inputs))  # pyright: ignore[reportCallIssue]

    def embed_images(self, images: Sequence[Any]) -> Float[Tensor, "b e"]:
        """Joint embeddings of images, of unit length; differentiable."""
        batch = self._vision.collate(self._vision.preprocess(images)).to(self.device)
        pixels = batch.inputs["pixel_values"].to(next(self._module.parameters()).dtype)
        return _unit(self._module.get_image_features(pixel_values=pixels))  # pyright: ignore[reportCallIssue]


def _unit(features: Any) -> Float[Tensor, "b e"]:
    embedded = features if isinstance(features, Tensor) else features.pooler_output
    return embedded / embedded.norm(dim=-1, keepdim=True)


def wrap_two_tower(
    network: Any, tokenizer: PreTrainedTokenizerBase, transform: Transform, facts: dict[str, Any]
) -> TwoTowerModel:
    """Find and check the layers of both towers, and wrap them.

    Raises:
        InterpError: The layers that hooks see are not the towers' hidden states.
    """
    towers: Any = network
    text = _text_tower(network, tokenizer, facts)
    vision_facts = facts | {"name": f"{facts['name']}:vision", "n_params": _n_params(towers.vision_model)}
    vision = wrap_vision_model(towers.vision_model, transform, vision_facts)
    return TwoTowerModel(network, text, vision, facts)


def _text_tower(network: Any, tokenizer: PreTrainedTokenizerBase, facts: dict[str, Any]) -> TextTower:
    module: Any = network.text_model
    config = network.config.text_config
    sites = transformer_sites(module, config.num_hidden_layers)
    ids = torch.tensor([[min(5, config.vocab_size - 1), min(6, config.vocab_size - 1)]], device=network.device)
    values = check_sites(
        f"{facts['name']}:text", sites, lambda: module(input_ids=ids, attention_mask=None, output_hidden_states=True)
    )
    context = config.max_position_embeddings
    # SigLIP was trained on texts padded to the full context, with the padding attended to
    full = context if network.config.model_type.startswith("siglip") else None
    encoder = TextEncoder(tokenizer, context, explicit_positions=False, full_width=full)
    own: dict[str, Any] = facts | {"name": f"{facts['name']}:text", "n_params": _n_params(module)}
    info = ModelInfo(
        modality="language",
        layers=tuple(sorted(sites)),
        widths={layer: value.shape[-1] for layer, value in values.items()},
        default_layers=tuple(layer for layer in sorted(sites) if not layer.pre_norm),
        details={"architecture": type(module).__name__, "family": config.model_type, "context": context},
        **own,
    )
    return TextTower(module, info, encoder, sites)


def _n_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
