"""How likely explanations are under the base model, and how likely the base model's own texts of that length are.

Axes: b texts of a batch, t tokens, v vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.lens.evaluation.measures import cross_entropy
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.contracts.model import Encoded
from interp_registry.errors import InterpError
from interp_registry.tensors.precision import to_float64
from interp_registry.tensors.seeding import generator

__all__ = ["TextLoss", "own_texts", "start_token", "text_loss"]

_BATCH = 128


@dataclass(frozen=True)
class TextLoss:
    """Surprisal of texts, one row per text."""

    nats: Float[Tensor, "n"]
    """Sum over the tokens of the text."""
    n_tokens: Float[Tensor, "n"]
    """Number of tokens that were scored."""

    @property
    def per_token(self) -> float:
        """Mean nats per token over all texts; NaN without tokens."""
        total = float(self.n_tokens.sum())
        return float(self.nats.sum()) / total if total else math.nan


def start_token(model: CausalLanguageModel) -> int | None:
    """The token that texts begin with: BOS, else EOS (as GPT-2 has it); None where there is neither."""
    for token in (model.tokenizer.bos_token_id, model.tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    return None


@torch.no_grad()
def text_loss(model: CausalLanguageModel, texts: Sequence[Sequence[int]]) -> TextLoss:
    """Surprisal in nats of every text (token ids without BOS) after BOS under the model.

    ``sum_t -log p(x_t | BOS, x_1 .. x_{t-1})``: all tokens count. Where the model has no BOS or EOS, the first token is not scored.
    """
    start = start_token(model)
    prefixed = [[*([] if start is None else [start]), *text] for text in texts]
    nats, counts = torch.zeros(len(texts), dtype=torch.float64), torch.zeros(len(texts), dtype=torch.float64)
    long_enough = [row for row, text in enumerate(prefixed) if len(text) > 1]
    for first in range(0, len(long_enough), _BATCH):
        chosen = long_enough[first : first + _BATCH]
        logits, ids = _logits(model, [prefixed[row] for row in chosen])
        losses = cross_entropy(logits[:, :-1], ids[:, 1:]).cpu()
        lengths = torch.tensor([len(prefixed[row]) for row in chosen])
        real = torch.arange(ids.shape[1] - 1) < (lengths - 1)[:, None]
        nats[chosen] = losses.masked_fill(~real, 0).sum(1)
        counts[chosen] = real.sum(1).double()
    return TextLoss(nats, counts)


@torch.no_grad()
def own_texts(model: CausalLanguageModel, n_texts: int, n_tokens: int, seed: int) -> list[list[int]]:
    """Texts of ``n_tokens`` tokens that the model writes after BOS at temperature 1; one that ends with EOS is shorter.

    Raises:
        InterpError: The model has neither BOS nor EOS to begin with.
    """
    start = start_token(model)
    if start is None:
        raise InterpError(f"{model.info.name} has neither BOS nor EOS: it cannot write texts of its own")
    source = generator(seed, "the base model's own texts")
    texts = [[start] for _ in range(n_texts)]
    for _ in range(n_tokens):
        for first in range(0, n_texts, _BATCH):
            part = texts[first : first + _BATCH]
            last = to_float64(_logits(model, part)[0][:, -1]).softmax(-1).cpu()
            for text, token in zip(part, torch.multinomial(last, 1, generator=source)[:, 0].tolist(), strict=True):
                text.append(token)
    end = model.tokenizer.eos_token_id
    return [_until(text[1:], end) for text in texts]


def _logits(
    model: CausalLanguageModel, texts: Sequence[Sequence[int]]
) -> tuple[Float[Tensor, "b t v"], Int[Tensor, "b t"]]:
    """Logits and padded ids of texts."""
    batch = model.collate([Encoded({"input_ids": list(text)}, len(text)) for text in texts])
    logits = model.forward(batch, logits=True).logits
    if logits is None:
        raise InterpError("a capture with early exit cannot be active while texts are scored")
    return logits.float(), batch.inputs["input_ids"].to(logits.device)


def _until(text: list[int], end: object) -> list[int]:
    """The text up to and including its first end token."""
    return text[: text.index(end) + 1] if isinstance(end, int) and end in text else text
