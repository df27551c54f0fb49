"""Text written token by token with gradients through every choice: hard Gumbel-softmax, straight-through.

At each step a token is drawn as ``argmax(logits + noise)`` with Gumbel noise, which is a draw from ``softmax(logits)`` whatever the
temperature ``tau``. Forward, the token is one-hot; backward, it has the Jacobian of ``softmax((logits + noise) / tau)`` (Jang et al. 2017,
"Categorical reparameterization with Gumbel-softmax", section 2.2). Its embedding, the one-hot row times the embedding table, is the next
input, so gradients run through the whole autoregression.

The keys and values of earlier tokens are kept in the library's own cache classes, whose tensors stay in the graph: this works for every
architecture that generates from embeddings.

Axis letters: b rows, p prompt tokens, t explanation tokens, k tokens of one pass, d width, v vocabulary.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel

__all__ = ["FORBIDDEN", "Generated", "Sampling", "forbid", "generate", "gumbel_noise", "straight_through"]

FORBIDDEN = -1e4
"""Logit of a token that must not be written: its probability is exactly 0, and 0 times its log-probability is 0."""

_Pass: TypeAlias = Callable[[Tensor], Tensor]
"""New input embeddings [b, k, d] -> logits after the last of them [b, v]; remembers what it has read."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen and what is kept in memory meanwhile."""

    length: int
    """Tokens to write."""
    tau: float = 1.0
    """Temperature of the relaxation whose gradient the choice has; the tokens do not depend on it."""
    temperature: float = 1.0
    """Tokens are draws from ``softmax(logits / temperature)``; 0 chooses the likeliest."""
    generator: torch.Generator | None = None
    """Where the noise comes from, on the network's device; not needed at temperature 0."""
    forbidden: Bool[Tensor, "v"] | None = None
    """Tokens that are never written."""
    cached: bool = True
    """Keep keys and values of earlier tokens; else every step reads the whole text again."""
    checkpointing: bool = False
    """Keep only keys and values per step for the backward pass and compute the rest of the step again."""


@dataclass(frozen=True)
class Generated:
    """Explanations as they were written."""

    embeddings: Float[Tensor, "b t d"]
    """Input embeddings of the tokens; their gradient is the straight-through one."""
    token_ids: Int[Tensor, "b t"]
    """The tokens."""
    choices: Float[Tensor, "b t v"] | None
    """One-hot rows with the straight-through gradient; None without gradients."""
    logits: Float[Tensor, "b t v"]
    """What each token was drawn from, forbidden tokens at `FORBIDDEN`; float32 or wider."""

    @property
    def logprobs(self) -> Float[Tensor, "b t"]:
        """Log-probability of each token under ``softmax(logits)``, in nats."""
        return self.logits.log_softmax(-1).gather(-1, self.token_ids[..., None])[..., 0]

    def turned(self) -> "Generated":
        """The same tokens from the last that was written to the first."""
        choices = None if self.choices is None else self.choices.flip(1)
        return Generated(self.embeddings.flip(1), self.token_ids.flip(1), choices, self.logits.flip(1))


def gumbel_noise(shape: torch.Size, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard Gumbel noise, ``-log(E)`` with E exponential, in the kind of ``like``."""
    return torch.empty(shape, dtype=like.dtype, device=like.device).exponential_(generator=generator).log().neg()


def straight_through(scores: Float[Tensor, "*b v"], tau: float) -> Float[Tensor, "*b v"]:
    """One-hot row of the largest score; backward the Jacobian of ``softmax(scores / tau)``.

    The forward value is one-hot to the last bit, because the soft part is subtracted from itself.
    """
    soft = (scores / tau).softmax(-1)
    hard = functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)
    return hard + (soft - soft.detach())


def generate(
    network: PreTrainedModel, table: Float[Tensor, "v d"], prompt: Float[Tensor, "b p d"], how: Sampling
) -> Generated:
    """Write ``how.length`` tokens after a prompt of embeddings.

    Args:
        network: A causal language model in evaluation mode.
        table: Input embedding of every token, as the network's own embedding module gives them.
        prompt: Input embeddings; at least one.
        how: How tokens are chosen.

    Returns:
        Tokens, embeddings, logits; with gradients to prompt and network unless they are switched off.
    """
    read = _pass(network, how)
    inputs = prompt
    embeddings, ids, choices, logits = [], [], [], []
    for _ in range(how.length):
        last = forbid(_wide(read(inputs)), how.forbidden)
        scores = last
        if how.temperature > 0:
            scores = last + how.temperature * gumbel_noise(last.shape, last, how.generator)
        token = scores.argmax(-1)
        if torch.is_grad_enabled():
            choice = straight_through(scores, how.tau)
            choices.append(choice)
            inputs = (choice.to(table.dtype) @ table)[:, None]
        else:
            inputs = table[token][:, None]
        logits.append(last)
        ids.append(token)
        embeddings.append(inputs)
    stacked = torch.stack(choices, 1) if choices else None
    return Generated(torch.cat(embeddings, 1), torch.stack(ids, 1), stacked, torch.stack(logits, 1))


def forbid(logits: Float[Tensor, "*b v"], forbidden: Bool[Tensor, "v"] | None) -> Float[Tensor, "*b v"]:
    """Logits with those of forbidden tokens at `FORBIDDEN`."""
    return logits if forbidden is None else logits.masked_fill(forbidden, FORBIDDEN)


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _pass(network: PreTrainedModel, how: Sampling) -> _Pass:
    if not how.cached:
        return _rereading(network)
    return _checkpointed(network) if how.checkpointing and torch.is_grad_enabled() else _caching(network)


def _last_logits(network: PreTrainedModel) -> Callable[..., Tensor]:
    """The network as a function to the logits at its last position, others not computed where it can leave them out."""
    few = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(network.forward).parameters else {}

    def last(inputs: Tensor, **options: Any) -> Tensor:
        return network(inputs_embeds=inputs, **few, **options).logits[:, -1]

    return last


def _caching(network: PreTrainedModel) -> _Pass:
    last, cache = _last_logits(network), DynamicCache(config=network.config)
    return lambda inputs: last(inputs, past_key_values=cache, use_cache=True)


def _rereading(network: PreTrainedModel) -> _Pass:
    last, seen = _last_logits(network), []

    def read(inputs: Tensor) -> Tensor:
        seen.append(inputs)
        return last(torch.cat(seen, 1), use_cache=False)

    return read


class _RecordingCache(DynamicCache):
    """A cache that notes what was added to it, in order: (layer, keys, values)."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config=config)
        self.added: list[tuple[int, Tensor, Tensor]] = []

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Note and add."""
        self.added.append((layer_idx, key_states, value_states))
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)


def _checkpointed(network: PreTrainedModel) -> _Pass:
    """Each pass is a pure function of its inputs and of the keys and values of each earlier pass, so it can be computed again.

    The parts are handed over unjoined: all passes share them, where joined ones would take memory quadratic in the length.
    """
    last = _last_logits(network)
    layers: list[int] = []
    parts: list[Tensor] = []

    def once(inputs: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = _RecordingCache(network.config)
        for place, layer in enumerate(layers if past else ()):
            keys, values = past[2 * place :: 2 * len(layers)], past[2 * place + 1 :: 2 * len(layers)]
            cache.update(torch.cat(keys, -2), torch.cat(values, -2), layer)
        cache.added.clear()
        logits = last(inputs, past_key_values=cache, use_cache=True)
        if not layers:
            layers.extend(layer for layer, _, _ in cache.added)
        return (logits, *(tensor for _, keys, values in cache.added for tensor in (keys, values)))

    def read(inputs: Tensor) -> Tensor:
        logits, *new = checkpoint(once, inputs, *parts, use_reentrant=False)
        parts.extend(new)
        return logits

    return read
