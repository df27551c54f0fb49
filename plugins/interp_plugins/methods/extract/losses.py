"""Next-token loss and bits per byte of texts, computed only where a token is predicted.

The first token of a text has nothing before it, so it is never scored: with a tokenizer that puts a beginning-of-text
token first, every token of the text is scored, without one all but the first. Special tokens at the end are scored
like any other. The bytes of a text are all its UTF-8 bytes, the unscored first token's included.

Axes: b samples, t tokens, d width, p scored positions, v vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from interp_registry.contracts.model import Batch
from interp_registry.tensors.precision import precise_device, to_float64

__all__ = ["LossTotals", "loss_totals", "text_nats"]

_LOGITS_AT_ONCE = 1 << 23


def text_nats(
    hidden: Float[Tensor, "b t d"], batch: Batch, unembed: Callable[[Tensor], Tensor]
) -> tuple[Float[Tensor, "b"], Int[Tensor, "b"]]:
    """Negative log-likelihood of each text in nats (fp64 sums of fp32 terms), and how many tokens were scored.

    Logits exist only at scored positions and only for a chunk of them at a time: memory does not grow with the
    vocabulary times the batch.

    Args:
        hidden: Last layer, after the final norm.
        batch: The tokens, padded on either side.
        unembed: From last-layer activations to logits.
    """
    ids = batch.inputs["input_ids"].to(hidden.device)
    mask = torch.ones_like(ids, dtype=torch.bool) if batch.mask is None else batch.mask.to(hidden.device)
    scored = mask[:, 1:] & mask[:, :-1]
    states, targets = hidden[:, :-1][scored], ids[:, 1:][scored]
    rows = torch.arange(len(ids), device=hidden.device)[:, None].expand_as(scored)[scored]
    nats = torch.zeros(len(ids), dtype=torch.float64, device=precise_device(hidden.device))
    rows = rows.to(nats.device)
    for part in _chunks(states, unembed):
        logits = unembed(states[part]).float()
        nats.index_add_(0, rows[part], to_float64(functional.cross_entropy(logits, targets[part], reduction="none")))
    return nats, scored.sum(dim=1)


def _chunks(states: Float[Tensor, "p d"], unembed: Callable[[Tensor], Tensor]) -> list[slice]:
    """Slices of positions whose logits together stay below 2^23 numbers (32 MiB in fp32)."""
    if len(states) == 0:
        return []
    n_vocabulary = unembed(states[:1]).shape[-1]
    size = max(_LOGITS_AT_ONCE // n_vocabulary, 1)
    return [slice(first, first + size) for first in range(0, len(states), size)]


@dataclass(frozen=True)
class LossTotals:
    """Loss and bits per byte over a data set; texts without a scored token take part in no mean."""

    loss: float
    """Nats per token: mean over texts of each text's mean (macro)."""
    loss_micro: float
    """Nats per token: all nats over all scored tokens."""
    bpb: float
    """Bits per UTF-8 byte: mean over texts (macro)."""
    bpb_micro: float
    """Bits per UTF-8 byte: all bits over all bytes."""
    n_scored: int
    """Tokens scored."""
    n_unscored_texts: int
    """Texts of one token, which have no loss."""


def loss_totals(nats: Sequence[float], n_scored: Sequence[int], n_bytes: Sequence[int]) -> LossTotals:
    """Totals from per-text values.

    ``loss = mean_i nats_i / n_i``, ``bpb = mean_i nats_i / (ln 2 · bytes_i)``, as the published code of the Platonic
    Representation Hypothesis defines them, and the corpus-level versions of both.
    """
    rows = [row for row in zip(nats, n_scored, n_bytes, strict=True) if row[1] > 0 and row[2] > 0]
    n_texts, bits = len(rows), 1 / math.log(2)
    if not rows:
        return LossTotals(math.nan, math.nan, math.nan, math.nan, 0, len(nats))
    total, tokens, size = (math.fsum(row[column] for row in rows) for column in range(3))
    return LossTotals(
        loss=math.fsum(nat / n for nat, n, _ in rows) / n_texts,
        loss_micro=total / tokens,
        bpb=math.fsum(nat / length for nat, _, length in rows) * bits / n_texts,
        bpb_micro=total * bits / size,
        n_scored=int(tokens),
        n_unscored_texts=len(nats) - n_texts,
    )
