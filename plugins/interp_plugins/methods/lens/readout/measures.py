"""What a prediction from the middle of a model is worth: divergence from its last one, entropy, rank, bits per byte.

Axes: n rows, s tokens of a text, v vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from interp_plugins.methods.lens.contract import ReadsOut
from interp_plugins.methods.lens.dumped import Dump
from interp_plugins.methods.lens.parts import Parts
from interp_registry.errors import DataError

__all__ = ["ReadoutScores", "bits_per_byte", "divergence", "entropy", "rank_of", "readout_scores", "tokens_per_byte"]

_CHUNK = 2048
_TEXTS = 2000


def divergence(target: Float[Tensor, "n v"], logits: Float[Tensor, "n v"]) -> Float[Tensor, "n"]:
    """``KL(softmax(target) || softmax(logits))`` of each row in nats; 0 when they are equal."""
    wanted = target.log_softmax(-1)
    return (wanted.exp() * (wanted - logits.log_softmax(-1))).sum(-1)


def entropy(logits: Float[Tensor, "n v"]) -> Float[Tensor, "n"]:
    """Entropy of the prediction in nats, 0 to ln v."""
    known = logits.log_softmax(-1)
    return -(known.exp() * known).sum(-1)


def rank_of(logits: Float[Tensor, "n v"], token: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """How many tokens are predicted with a higher logit than this one: 0 for the most probable."""
    return (logits > logits.gather(-1, token[:, None])).sum(-1)


def bits_per_byte(nats: float, n_tokens: int, n_bytes: int) -> float:
    """``nats * tokens / bytes / ln 2``: a loss per token that can be compared between tokenizers.

    Args:
        nats: Mean loss per token.
        n_tokens: Tokens of the texts.
        n_bytes: UTF-8 bytes of the same texts.

    Raises:
        DataError: There are no bytes.
    """
    if n_bytes <= 0:
        raise DataError("texts without a byte have no bits per byte")
    return nats * n_tokens / n_bytes / math.log(2)


def tokens_per_byte(dump: Dump, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Tokens and UTF-8 bytes of the dump's texts (of at most 2,000 of them), the texts being decoded without special tokens."""
    documents = dump.entry.column("doc_id")
    order = documents.argsort(stable=True)
    sorted_documents = documents[order]
    new = torch.ones_like(sorted_documents, dtype=torch.bool)
    new[1:] = sorted_documents[1:] != sorted_documents[:-1]
    rows = dump.rows(order[new][:_TEXTS], dump.layers[0])
    ids = [row[:length] for row, length in zip(rows.token_ids.tolist(), rows.lengths.tolist(), strict=True)]
    texts: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return sum(map(len, ids)), sum(len(text.encode()) for text in texts)


@dataclass(frozen=True)
class ReadoutScores:
    """How well a lens predicts at one layer, means over rows."""

    layer: int
    """The layer."""
    n_rows: int
    """Rows in the means."""
    kl: float
    """KL(final || lens) in nats."""
    cross_entropy: float
    """Loss on the next token in nats; NaN when no row has one."""
    entropy: float
    """Entropy of the prediction in nats."""
    agreement: float
    """Share of rows whose most probable token is that of the last layer."""
    bits_per_byte: float
    """The cross-entropy in bits per byte."""


@torch.no_grad()
def readout_scores(
    lens: ReadsOut, layer: int, dump: Dump, parts: Parts, indices: Int[Tensor, "n"], counts: tuple[int, int]
) -> ReadoutScores:
    """Scores of a lens at a layer on some rows of a dump that has the last layer too.

    Args:
        lens: The lens.
        layer: The layer.
        dump: Activations.
        parts: The model.
        indices: Which rows.
        counts: Tokens and bytes, from :func:`tokens_per_byte`.
    """
    sums, n_next = torch.zeros(4, dtype=torch.float64), 0
    for part in indices.split(_CHUNK):
        rows = dump.rows(part, layer)
        final = parts.readout(dump.activations(part, parts.n_layers).to(parts.device)).float()
        logits = lens.readout(rows.activations.to(parts.device), layer).float()
        sums[0] += divergence(final, logits).double().sum().cpu()
        sums[1] += entropy(logits).double().sum().cpu()
        sums[2] += (final.argmax(-1) == logits.argmax(-1)).double().sum().cpu()
        there = rows.positions + 1
        kept = there < rows.lengths
        following = rows.token_ids[kept].gather(1, there[kept][:, None])[:, 0].to(parts.device)
        if len(following):
            sums[3] += (
                functional.cross_entropy(logits[kept.to(logits.device)], following, reduction="sum").double().cpu()
            )
            n_next += len(following)
    n_rows = len(indices)
    kl, spread, agreement = (float(value) / n_rows for value in sums[:3])
    loss = float(sums[3]) / n_next if n_next else math.nan
    return ReadoutScores(layer, n_rows, kl, loss, spread, agreement, bits_per_byte(loss, *counts))
