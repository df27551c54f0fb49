"""Which tokens make up which word.

Axis letters: t tokens, w words, e embedding.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from interp_registry.errors import DataError

__all__ = ["group_tokens", "mean_of_groups"]

WordGroup = tuple[str, tuple[int, ...]]


def group_tokens(tokenizer: Any, texts: Sequence[str], token_ids: Int[Tensor, "b t"]) -> list[list[WordGroup]]:
    """For each text its words, each with the positions of its tokens; special tokens and padding belong to no word.

    A token belongs to the run of characters without white space that it begins in; a word cut off by the context
    length keeps the tokens that are left. Punctuation at the ends of a word is not shown in its name; a word of
    nothing else is left out.

    Raises:
        DataError: A text has no word.
    """
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=token_ids.shape[1],
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    rows = zip(texts, encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
    return [_words_of(text, offsets, special) for text, offsets, special in rows]


def _words_of(text: str, offsets: Sequence[tuple[int, int]], special: Sequence[int]) -> list[WordGroup]:
    members: dict[tuple[int, int], list[int]] = {}
    for position, ((start, end), is_special) in enumerate(zip(offsets, special, strict=True)):
        if is_special or end <= start:
            continue
        first = next((place for place in range(start, end) if not text[place].isspace()), end - 1)
        members.setdefault(_run_around(text, first), []).append(position)
    groups = [
        (name, tuple(positions))
        for (first, last), positions in members.items()
        if (name := text[first:last].strip(".,;:!?\"'()[]").lower())
    ]
    if not groups:
        raise DataError(f"the text {text[:60]!r} has no word", "leave it out")
    return groups


def _run_around(text: str, place: int) -> tuple[int, int]:
    first = last = place
    while first > 0 and not text[first - 1].isspace():
        first -= 1
    while last < len(text) and not text[last].isspace():
        last += 1
    return first, last


def mean_of_groups(tokens: Float[Tensor, "t e"], groups: Sequence[WordGroup]) -> Float[Tensor, "w e"]:
    """Unit mean of each word's tokens."""
    return functional.normalize(torch.stack([tokens[list(positions)].mean(dim=0) for _, positions in groups]), dim=-1)
