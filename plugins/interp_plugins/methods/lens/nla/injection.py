"""An activation written into a prompt, and what is said about it.

Axes: n rows, p prompt tokens, t answer tokens, d width, v vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from interp_plugins.methods.lens.nla.prompts import VerbaliserPrompt

__all__ = ["Answers", "Injector", "injection_row", "recomputing"]

_LEAST_NORM = 1e-12


def injection_row(activations: Float[Tensor, "n d"], scale: float, dtype: torch.dtype) -> Float[Tensor, "n d"]:
    """Activations at length ``scale``: ``v * scale / max(|v|, 1e-12)``, the norm in float32, then cast."""
    wide = activations.float()
    norms = wide.norm(dim=-1, keepdim=True).clamp_min(_LEAST_NORM)
    return (wide * (scale / norms)).to(dtype)


@dataclass(frozen=True)
class Answers:
    """What was written about some activations."""

    token_ids: Int[Tensor, "n t"]
    """Tokens, the end token included; what follows it is meaningless."""
    mask: Bool[Tensor, "n t"]
    """True at the tokens that were chosen."""
    logprobs: Float[Tensor, "n t"]
    """Log-probability in nats with which each was chosen."""
    finished: Bool[Tensor, "n"]
    """Whether the end token came before the length was used up."""


@contextmanager
def recomputing(network: nn.Module) -> Iterator[None]:
    """In a pass without a cache, let the blocks that were asked to keep fewer activations do so.

    The library's blocks do it in training mode only, and drop the cache then. Their parts stay in evaluation mode, without dropout.
    """
    asked = [block for block in network.modules() if getattr(block, "gradient_checkpointing", False)]
    for block in asked:
        block.training = True
    try:
        yield
    finally:
        for block in asked:
            block.training = False


class Injector:
    """A causal language model whose prompt has an activation in place of the marker's embedding.

    The embeddings are made by the model's own embedding module, so whatever scale a family applies is applied to the words and not to
    the activation. They are handed to the model as such: a hook on the embedding module would not run.

    Args:
        network: A causal language model.
        prompt: Its prompt.
        scale: Length of an injected activation.
        ends: Tokens that end an answer.
    """

    def __init__(self, network: PreTrainedModel, prompt: VerbaliserPrompt, scale: float, ends: tuple[int, ...]) -> None:
        self.network, self.prompt, self.scale, self.ends = network, prompt, scale, ends

    @property
    def device(self) -> torch.device:
        """Where inputs have to be."""
        return self._embedding.weight.device  # pyright: ignore[reportReturnType]

    @property
    def _embedding(self) -> nn.Module:
        return self.network.get_input_embeddings()

    def embed(self, token_ids: Int[Tensor, "n t"]) -> Float[Tensor, "n t d"]:
        """Input embeddings as the model makes them."""
        return self._embedding(token_ids.to(self.device))

    def embeddings(self, activations: Float[Tensor, "n d"]) -> Float[Tensor, "n p d"]:
        """The prompt's embeddings with each activation at the marker."""
        words = self.embed(torch.tensor([self.prompt.ids]))
        rows = injection_row(activations.to(words.device), self.scale, words.dtype)
        place = self.prompt.position
        before, after = words[:, :place], words[:, place + 1 :]
        n = len(rows)
        return torch.cat([before.expand(n, -1, -1), rows[:, None], after.expand(n, -1, -1)], dim=1)

    def next_logits(self, activations: Float[Tensor, "n d"], token_ids: Int[Tensor, "n t"]) -> Float[Tensor, "n t v"]:
        """Logits from which each token of given answers would be drawn; differentiable, one pass."""
        answer = self.embed(token_ids[:, :-1])
        inputs = torch.cat([self.embeddings(activations), answer], dim=1)
        mask = torch.ones(inputs.shape[:2], dtype=torch.int64, device=inputs.device)
        with recomputing(self.network):
            outputs: Any = self.network(
                inputs_embeds=inputs, attention_mask=mask, use_cache=False, logits_to_keep=token_ids.shape[1]
            )
        return outputs.logits

    def logprobs(self, activations: Float[Tensor, "n d"], token_ids: Int[Tensor, "n t"]) -> Float[Tensor, "n t"]:
        """Log-probability in nats of each token of given answers; differentiable."""
        logits = self.next_logits(activations, token_ids).float()
        chosen = token_ids.to(logits.device)[..., None]
        return logits.log_softmax(-1).gather(-1, chosen)[..., 0]

    @torch.no_grad()
    def answer(
        self,
        activations: Float[Tensor, "n d"],
        length: int,
        *,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Answers:
        """Write about each activation.

        Keys and values of the prompt before the marker are the same for all rows and computed once.

        Args:
            activations: What to write about.
            length: Tokens at most.
            temperature: 0 takes the likeliest token.
            generator: For the draws, on the CPU.
        """
        cache, logits = self._read_prompt(activations)
        n = len(activations)
        open_ = torch.ones(n, dtype=torch.bool)
        ids, masks, chances = [], [], []
        ends = torch.tensor(self.ends)
        for step in range(length):
            chosen, chance = _choose(logits.float().cpu(), temperature, generator)
            ids.append(chosen)
            masks.append(open_)
            chances.append(chance)
            open_ = open_ & ~torch.isin(chosen, ends)
            if step + 1 == length or not open_.any():
                break
            outputs: Any = self.network(
                inputs_embeds=self.embed(chosen[:, None]), past_key_values=cache, use_cache=True
            )
            logits = outputs.logits[:, -1]
        return Answers(torch.stack(ids, 1), torch.stack(masks, 1), torch.stack(chances, 1), ~open_)

    def _read_prompt(self, activations: Tensor) -> tuple[DynamicCache, Float[Tensor, "n v"]]:
        cache = DynamicCache(config=self.network.config.get_text_config())
        rows = self.embeddings(activations)
        place = self.prompt.position
        self.network(inputs_embeds=rows[:1, :place], past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(rows))
        outputs: Any = self.network(
            inputs_embeds=rows[:, place:], past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        return cache, outputs.logits[:, -1]


def _choose(
    logits: Float[Tensor, "n v"], temperature: float, generator: torch.Generator | None
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
    """A token of each row, and the log-probability with which it was chosen."""
    chances = (logits / temperature if temperature > 0 else logits).log_softmax(-1)
    drawn = torch.multinomial(chances.exp(), 1, generator=generator)[:, 0] if temperature > 0 else logits.argmax(-1)
    return drawn, chances.gather(1, drawn[:, None])[:, 0]
