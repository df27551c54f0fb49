"""What a prediction from the middle of a model is worth: divergence from its last one, entropy, rank, bits per byte.

Axes: n rows, s tokens of a text, v vocabulary.
"""

import math

from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from interp_plugins.methods.lens.dumped import Rows
from interp_registry.errors import DataError

__all__ = ["bits_per_byte", "divergence", "entropy", "rank_of", "tokens_and_bytes"]


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
        n_tokens: Predicted tokens of the texts, of :func:`tokens_and_bytes`.
        n_bytes: UTF-8 bytes of the same texts.

    Raises:
        DataError: There are no bytes.
    """
    if n_bytes <= 0:
        raise DataError("texts without a byte have no bits per byte")
    return nats * n_tokens / n_bytes / math.log(2)


def tokens_and_bytes(rows: Rows, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """What :func:`bits_per_byte` divides by: predicted tokens of the rows' texts, and UTF-8 bytes of these texts.

    Every token but the first of a text is predicted, whether the tokenizer adds one in front or not; special ones have no bytes. A text
    counts once, however many rows it has.
    """
    seen: dict[int, tuple[int, int]] = {}
    texts = zip(rows.documents.tolist(), rows.token_ids.tolist(), rows.lengths.tolist(), strict=True)
    for document, ids, length in texts:
        if document not in seen:
            text = str(tokenizer.decode(ids[:length], skip_special_tokens=True))
            seen[document] = (length - 1, len(text.encode()))
    return sum(tokens for tokens, _ in seen.values()), sum(size for _, size in seen.values())
