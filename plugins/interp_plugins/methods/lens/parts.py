"""A causal language model cut at a layer: what comes before an activation, and what follows from another one in its place.

The convention is that of `interp_plugins.methods.lens.contract`: ``layer`` is 0 to L, and at L the activation is taken before the
final norm. Nothing here knows an architecture: blocks, norm and embeddings are found by `interp_plugins.models.blocks`.

Axes: n rows, b texts, s tokens of a text, k positions, d width, v vocabulary.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from interp_plugins.models.cutting import from_block, up_to_block
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.contracts.model import Batch, Model
from interp_registry.errors import UsageError
from interp_registry.tensors.capture import Site, hidden_of, swap_at
from interp_registry.tensors.layers import Layer

__all__ = ["Parts", "Prefix", "mask_of"]


def mask_of(lengths: Int[Tensor, "b"], width: int) -> Bool[Tensor, "b s"]:
    """True at the first ``lengths`` of ``width`` places."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


@dataclass(frozen=True)
class Prefix:
    """Keys and values of whole texts in the blocks from a layer on, for :meth:`Parts.tail`."""

    layer: int
    """First block that the keys are of."""
    token_ids: Int[Tensor, "b s"]
    """The texts."""
    keys: tuple[Tensor, ...]
    """Of each block from ``layer`` on: [b, heads, s, width of a head]."""
    values: tuple[Tensor, ...]
    """Likewise."""

    def rows(self, texts: Int[Tensor, "n"]) -> "Prefix":
        """The prefixes of these texts, in this order; repetitions are allowed."""
        where = texts.to(self.token_ids.device)
        keys, values = (tuple(part[where] for part in parts) for parts in (self.keys, self.values))
        return replace(self, token_ids=self.token_ids[where], keys=keys, values=values)


class Parts:
    """The parts of a causal language model around a layer.

    Everything is differentiable with respect to activations and embeddings; parameters take part in the gradient when they ask for
    it. Texts are padded on the right.

    Args:
        model: Any causal language model of the tool.

    Raises:
        UsageError: The model predicts no next token.
    """

    def __init__(self, model: Model) -> None:
        if not isinstance(model, CausalLanguageModel):
            raise UsageError(f"{model.info.name} predicts no next token", "use a causal language model")
        self.model = model
        self.n_layers = model.info.layers[-1].index
        self.width = model.info.widths[self.address(self.n_layers)]
        self._options = {"use_cache": False}
        self._uppers: dict[int, nn.Module] = {}

    @property
    def device(self) -> torch.device:
        """Where inputs have to be."""
        return self.model.device

    def address(self, layer: int) -> Layer:
        """The tool's address of a layer.

        Raises:
            UsageError: The model has no such layer.
        """
        if not 0 <= layer <= self.n_layers:
            raise UsageError(f"{self.model.info.name} has no layer {layer}", f"it has 0 to {self.n_layers}")
        return Layer(layer, pre_norm=layer == self.n_layers)

    def embed(self, token_ids: Int[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        """Input embeddings through the embedding module, with whatever scale it applies."""
        return self.embedding(token_ids.to(self.device))

    @cached_property
    def embedding(self) -> nn.Module:
        """The module of the input embeddings."""
        return self.model.module.get_input_embeddings()  # pyright: ignore[reportCallIssue, reportReturnType]

    def inputs(self, mask: Bool[Tensor, "b s"]) -> dict[str, Tensor]:
        """The arguments that every pass over padded texts needs beside tokens: mask and, where they are taken, positions."""
        mask = mask.to(self.device)
        given = {"attention_mask": mask.long()}
        if self.takes_positions:
            given["position_ids"] = (mask.long().cumsum(1) - 1).clamp_min(0)
        return given

    @cached_property
    def takes_positions(self) -> bool:
        """Whether the network takes explicit positions; those that do not tell distance by attention biases."""
        return "position_ids" in inspect.signature(self.model.base.forward).parameters

    def batch(self, token_ids: Int[Tensor, "b s"], mask: Bool[Tensor, "b s"]) -> Batch:
        """A batch of padded texts."""
        mask = mask.to(self.device)
        return Batch({"input_ids": token_ids.to(self.device).long(), **self.inputs(mask)}, mask)

    def truncated(self, layer: int) -> nn.Module:
        """The network up to a layer, without final norm, as a module that shares its parameters with the model.

        A deep copy of it holds the embeddings and the first ``layer`` blocks only. Call it as the model's base is called; its
        ``last_hidden_state`` is the activation at the layer.
        """
        self.address(layer)
        return up_to_block(self.model.base, self.n_layers, layer)

    def to_layer(self, embeds: Float[Tensor, "b s d"], mask: Bool[Tensor, "b s"], layer: int) -> Float[Tensor, "b s d"]:
        """Activations at a layer of texts given as embeddings."""
        return self._hidden(self.truncated(layer), inputs_embeds=embeds, **self.inputs(mask))

    def activations(
        self, token_ids: Int[Tensor, "b s"], mask: Bool[Tensor, "b s"], layer: int
    ) -> Float[Tensor, "b s d"]:
        """Activations at a layer of texts given as tokens."""
        inputs = self.batch(token_ids, mask).inputs
        return self._hidden(self.truncated(layer), **inputs)

    def from_layer(
        self,
        batch: Batch,
        layer: int,
        positions: Int[Tensor, "b"] | Int[Tensor, "b k"],
        values: Tensor,
        read: Int[Tensor, "b r"] | None = None,
    ) -> Float[Tensor, "b r v"]:
        """Next-token logits at some positions when activations are replaced: one full pass.

        Args:
            batch: Texts, from :meth:`batch`.
            layer: Where to replace.
            positions: Token positions to replace, [b] or [b, k].
            values: Replacements, [b, d] or [b, k, d].
            read: Positions whose logits are wanted; those that were replaced when None.
        """
        where = positions if read is None else read
        with self.model.swap(self.address(layer), positions, values):
            hidden = self._last(batch)
        return self.model.unembed(_at(hidden, where))

    def logits(self, batch: Batch, read: Int[Tensor, "b r"]) -> Float[Tensor, "b r v"]:
        """Next-token logits at some positions, nothing replaced."""
        return self.model.unembed(_at(self._last(batch), read))

    def readout(self, activations: Float[Tensor, "*n d"]) -> Float[Tensor, "*n v"]:
        """Next-token logits of activations as if they were those of layer L: final norm and unembedding."""
        return self.model.unembed(self.model.final_norm(activations.to(self.device)))

    @torch.no_grad()
    def prefix(self, token_ids: Int[Tensor, "b s"], mask: Bool[Tensor, "b s"], layer: int) -> Prefix:
        """Keys and values of the blocks from ``layer`` on, of whole texts; one pass, no gradient."""
        self.address(layer)
        batch = self.batch(token_ids, mask)
        cache = DynamicCache()  # without the configuration: no layer forgets what is outside a sliding window
        self.model.base(**batch.inputs, past_key_values=cache, use_cache=True)
        kept: list[Any] = cache.layers[layer:]
        keys, values = [part.keys for part in kept], [part.values for part in kept]
        return Prefix(layer, batch.inputs["input_ids"], tuple(keys), tuple(values))

    def tail(self, prefix: Prefix, positions: Int[Tensor, "n"], values: Float[Tensor, "n d"]) -> Float[Tensor, "n v"]:
        """Next-token logits at the position where an activation is replaced: one token through the blocks behind it.

        Equal to :meth:`from_layer` up to rounding, at the cost of one token instead of a text.

        Args:
            prefix: Of each row's text, from :meth:`prefix` and `Prefix.rows`.
            positions: Of the replaced token.
            values: Replacements at ``prefix.layer``.

        Raises:
            UsageError: The model cannot run single tokens so; see :attr:`has_tail`.
        """
        if prefix.layer == self.n_layers:
            return self.readout(values)
        if not self.has_tail:
            raise UsageError(f"{self.model.info.name} cannot run a token by itself", "use a full pass")
        return self._tail(prefix, positions, values)

    def _tail(self, prefix: Prefix, positions: Tensor, values: Tensor) -> Tensor:
        where = positions.to(self.device)
        shell = self._upper(prefix.layer)
        inputs: dict[str, Any] = {
            "input_ids": prefix.token_ids.gather(1, where[:, None]),
            "position_ids": where[:, None],
            "attention_mask": self._tail_mask(where, prefix.token_ids.shape[1]),
            "past_key_values": _cache_of(prefix),
            "use_cache": True,
        }
        with swap_at(self._input_of(prefix.layer), torch.zeros_like(where), values):
            hidden = shell(**inputs).last_hidden_state
        return self.model.unembed(hidden[:, 0])

    def _upper(self, layer: int) -> nn.Module:
        """The network from a block on; made once."""
        if layer not in self._uppers:
            self._uppers[layer] = from_block(self.model.base, self.n_layers, layer, in_tuple=self._returns_tuples)
        return self._uppers[layer]

    def _input_of(self, layer: int) -> Site:
        blocks = [self.model.sites[self.address(number)].module for number in range(1, self.n_layers + 1)]
        return Site(blocks[layer], "input")

    def _tail_mask(self, positions: Tensor, width: int) -> Any:
        """Additive masks of one token behind ``width`` stored ones: open before its position and at itself.

        A network whose layers attend in several ways is given one mask of each way.
        """
        config: Any = self.model.module.config
        config = config.get_text_config()
        places = torch.arange(width, device=positions.device)
        before = places < positions[:, None]
        window = getattr(config, "sliding_window", None)
        near = before if not window else before & (places > positions[:, None] - window)
        kinds = getattr(config, "layer_types", None)
        full, sliding = (_additive(open_, self._compute_dtype) for open_ in (before, near))
        if kinds is None:
            return sliding if getattr(config, "use_sliding_window", True) else full
        return {kind: sliding if "sliding" in kind else full for kind in set(kinds)}

    @cached_property
    def _compute_dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype  # pyright: ignore[reportReturnType]

    @cached_property
    def _returns_tuples(self) -> bool:
        """Whether the blocks return tuples; found by a pass over one token."""
        seen: list[bool] = []
        block = self.model.sites[self.address(self.n_layers)].module
        handle = block.register_forward_hook(lambda _m, _a, output: seen.append(not isinstance(output, Tensor)))
        try:
            self._last(self._probe())
        finally:
            handle.remove()
        return seen[0]

    @cached_property
    def has_tail(self) -> bool:
        """Whether :meth:`tail` gives what a full pass gives; tried out on a text of three tokens.

        False for networks without explicit positions, and for those that keep other things than keys and values.
        """
        if not self.takes_positions:
            return False
        batch = self._probe()
        layer, ids, position = self.n_layers // 2, batch.inputs["input_ids"], torch.tensor([1], device=self.device)
        with torch.no_grad():
            value = self.activations(ids, torch.ones_like(ids, dtype=torch.bool), layer)[:, 1]
            full = self.from_layer(batch, layer, position, value)[:, 0]
            try:
                short = self._tail(self.prefix(ids, torch.ones_like(ids, dtype=torch.bool), layer), position, value)
            except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError):
                return False  # another cache or another form of mask, in code that was never seen here
        scale = float(full.abs().max()) or 1.0
        return float((short - full).abs().max()) <= _TOLERANCE.get(self._compute_dtype, 0.1) * scale

    def _probe(self) -> Batch:
        ids = torch.arange(3, device=self.device)[None]
        return self.batch(ids, torch.ones_like(ids, dtype=torch.bool))

    def _last(self, batch: Batch) -> Tensor:
        hidden = self.model.forward(batch).last_hidden
        if hidden is None:
            raise UsageError("a capture with early exit cannot be active while logits are computed")
        return hidden

    def _hidden(self, network: nn.Module, **inputs: Any) -> Tensor:
        return hidden_of(network(**inputs, **self._options))


_TOLERANCE: Mapping[torch.dtype, float] = {torch.float32: 1e-3, torch.float64: 1e-6}


def _additive(open_: Bool[Tensor, "n s"], dtype: torch.dtype) -> Float[Tensor, "n 1 1 s_plus_1"]:
    """0 where attention is open and the lowest number where not, with an open place for the token itself."""
    mask = torch.zeros(len(open_), 1, 1, open_.shape[1] + 1, dtype=dtype, device=open_.device)
    mask[:, 0, 0, :-1].masked_fill_(~open_, torch.finfo(dtype).min)
    return mask


def _cache_of(prefix: Prefix) -> DynamicCache:
    """A cache that holds the prefix; a token that is appended to it leaves the prefix as it is."""
    cache = DynamicCache()
    for place, (keys, values) in enumerate(zip(prefix.keys, prefix.values, strict=True)):
        cache.update(keys, values, prefix.layer + place)
    return cache


def _at(hidden: Float[Tensor, "b s d"], where: Tensor) -> Float[Tensor, "b r d"]:
    """Activations at some positions of each text."""
    places = where.to(hidden.device).reshape(len(hidden), -1)
    return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
