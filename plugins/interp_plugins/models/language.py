"""Hugging Face language models: causal ones, encoders, and the encoder of an encoder-decoder."""

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interp_plugins.models.blocks import after_blocks, check_sites, transformer_sites
from interp_plugins.models.texts import TextEncoder, length_limit
from interp_registry.contracts.model import Batch, Encoded, ModelInfo, Output
from interp_registry.errors import InterpError, UsageError
from interp_registry.tensors.hooked import HookedModel
from interp_registry.tensors.layers import Layer

__all__ = ["CausalLanguageModel", "LanguageModel", "wrap_language_model"]


class LanguageModel(HookedModel):
    """A Hugging Face language model as the contract has it: an encoder, or what a causal model shares with one.

    Args:
        network: The whole model, with or without a language-modelling head.
        base: The part of it that gives hidden states.
        info: What is known about it.
        encoder: Makes batches of texts.
        sites: Where its layers can be seen.
    """

    def __init__(
        self, network: nn.Module, base: nn.Module, info: ModelInfo, encoder: TextEncoder, sites: dict[Layer, Any]
    ) -> None:
        super().__init__(network, info, sites)
        self._base, self._encoder = base, encoder
        self._input_device = _embedding_device(network)
        self._options = _no_cache(base)

    @property
    def device(self) -> torch.device:
        """Where token ids have to be: the device of the embeddings."""
        return self._input_device

    @property
    def base(self) -> nn.Module:
        """The part of the network that gives hidden states: everything but the head."""
        return self._base

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        return self._encoder.tokenizer

    def preprocess(self, samples: Sequence[str]) -> list[Encoded]:
        """Token ids of each text."""
        return self._encoder.encode(samples)

    def collate(
        self, encoded: Sequence[Encoded], padding: Literal["right", "left"] = "right", width: int | None = None
    ) -> Batch:
        """Pad a batch; see `interp_plugins.models.texts.TextEncoder.collate`."""
        return self._encoder.collate(encoded, padding, width)

    def run(self, batch: Batch, *, logits: bool) -> Output:
        """Hidden states from the base.

        Raises:
            UsageError: Logits were asked for.
        """
        if logits:
            raise UsageError(f"{self.info.name} has no language-modelling head", "use a causal language model")
        return Output(self._hidden(batch))

    def _hidden(self, batch: Batch) -> Float[Tensor, "b t d"]:
        return self._base(**batch.inputs, **self._options).last_hidden_state

    def final_norm(self, hidden: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The norm (and projection) between ``L.pre_norm`` and ``L``."""
        for module in self._after_blocks():
            hidden = module(hidden)
        return hidden

    def _after_blocks(self) -> list[nn.Module]:
        """Modules between the last block and the base's output: they stand beside the list of blocks."""
        names = after_blocks(self._base, self.info.layers[-1].index)
        return [self._base.get_submodule(name) for name in names]


class CausalLanguageModel(LanguageModel):
    """A language model with a head: it also unembeds and generates."""

    def run(self, batch: Batch, *, logits: bool) -> Output:
        """Hidden states from the base, and logits of every position if asked."""
        hidden = self._hidden(batch)
        return Output(hidden, self.unembed(hidden) if logits else None)

    def unembed(self, hidden: Float[Tensor, "*n d"]) -> Float[Tensor, "*n v"]:
        """Logits of normed activations, with the cap or scale that some families put on them."""
        return _scaled(self._head()(hidden), getattr(self._module, "config", None))

    @property
    def unembedding(self) -> Float[Tensor, "v d"]:
        """Weight matrix of the output head."""
        return self._head().weight  # pyright: ignore[reportReturnType]

    def generate(
        self, prompts: Sequence[str], max_new_tokens: int, *, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Continue each prompt in turn; greedy at temperature 0, else sampled with a generator made from ``seed``."""
        generator = torch.Generator().manual_seed(seed)
        return [self._continue(prompt, max_new_tokens, temperature, generator) for prompt in prompts]

    @torch.no_grad()
    def _continue(self, prompt: str, max_new_tokens: int, temperature: float, generator: torch.Generator) -> str:
        ids = list(self.preprocess([prompt])[0].inputs["input_ids"])
        n_given = len(ids)
        end = self.tokenizer.eos_token_id
        if len(ids) > 1 and ids[-1] == end:
            ids, n_given = ids[:-1], n_given - 1
        for _ in range(max_new_tokens):
            item = Encoded({"input_ids": ids}, len(ids))
            logits = self.unembed(self._last_hidden(item)).float().cpu()
            if temperature > 0:
                chosen = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
            else:
                chosen = int(logits.argmax())
            if chosen == end:
                break
            ids.append(chosen)
        return str(self.tokenizer.decode(ids[n_given:], skip_special_tokens=True))

    def _last_hidden(self, item: Encoded) -> Float[Tensor, "d"]:
        hidden = self.forward(self.collate([item])).last_hidden
        if hidden is None:
            raise InterpError("a capture with early exit cannot be active while text is generated")
        return hidden[0, -1]

    def _head(self) -> nn.Module:
        return self._module.get_output_embeddings()  # pyright: ignore[reportCallIssue, reportReturnType]


def _scaled(logits: Tensor, config: Any) -> Tensor:
    cap = getattr(config, "final_logit_softcapping", None)
    if cap:
        return torch.tanh(logits / cap) * cap
    scale = getattr(config, "logit_scale", None)
    if isinstance(scale, float):
        return logits * scale
    divisor = getattr(config, "logits_scaling", None)
    return logits / divisor if isinstance(divisor, int | float) else logits


def _embedding_device(network: nn.Module) -> torch.device:
    """Where ids go; weights that accelerate keeps on the disk say where they will run in its hook."""
    if isinstance(network, PreTrainedModel):
        embeddings = network.get_input_embeddings()
        weight = getattr(embeddings, "weight", None)
        if isinstance(weight, Tensor) and weight.device.type != "meta":
            return weight.device
        planned = getattr(getattr(embeddings, "_hf_hook", None), "execution_device", None)
        if planned is not None:
            return torch.device(planned)
    present = (parameter.device for parameter in network.parameters() if parameter.device.type != "meta")
    return next(present, torch.device("cpu"))


def _no_cache(base: nn.Module) -> dict[str, bool]:
    return {"use_cache": False} if "use_cache" in inspect.signature(base.forward).parameters else {}


def _base_of(network: PreTrainedModel) -> nn.Module:
    if network.config.is_encoder_decoder:
        return network.get_encoder()
    return network.base_model


def wrap_language_model(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    facts: dict[str, Any],
    max_length: int | None = None,
) -> LanguageModel:
    """Find and check the layers of a loaded network, and wrap it.

    Args:
        network: In evaluation mode, on its device.
        tokenizer: Its tokenizer.
        facts: ``name``, ``revision``, ``n_params``, ``dtype`` for the model's info.
        max_length: Cut longer texts; the model's own limit when None.

    Raises:
        InterpError: The layers that hooks see are not the model's hidden states.
    """
    base = _base_of(network)
    config = network.config.get_text_config()
    sites = transformer_sites(base, config.num_hidden_layers)
    causal = network.get_output_embeddings() is not None and not network.config.is_encoder_decoder
    positions = causal and "position_ids" in inspect.signature(base.forward).parameters
    limit = max_length or length_limit(tokenizer, config)
    encoder = TextEncoder(tokenizer, limit, explicit_positions=positions)
    widths = _check_language(facts["name"], network, base, sites)
    numbered = tuple(layer for layer in sorted(sites) if not layer.pre_norm)
    details = {"architecture": type(network).__name__, "family": network.config.model_type, "context": limit}
    info = ModelInfo(
        modality="language",
        layers=tuple(sorted(sites)),
        widths=widths,
        default_layers=numbered,
        causal=causal,
        details=details,
        **facts,
    )
    kind = CausalLanguageModel if causal else LanguageModel
    return kind(network, base, info, encoder, sites)


def _check_language(name: str, network: PreTrainedModel, base: nn.Module, sites: dict[Layer, Any]) -> dict[Layer, int]:
    vocabulary = network.config.get_text_config().vocab_size
    ids = torch.tensor([[min(5, vocabulary - 1), min(6, vocabulary - 1)]], device=_embedding_device(network))
    mask = torch.ones_like(ids)

    def run() -> Any:
        return base(input_ids=ids, attention_mask=mask, output_hidden_states=True, **_no_cache(base))

    return {layer: value.shape[-1] for layer, value in check_sites(name, sites, run).items()}
