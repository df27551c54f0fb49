"""Texts to padded token batches: one tokenizer, explicit positions, padding that changes nothing."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase

from interp_registry.contracts.model import Batch, Encoded
from interp_registry.errors import DataError

__all__ = ["TextEncoder"]

logger = logging.getLogger(__name__)

_UNLIMITED = 1_000_000


@dataclass(frozen=True)
class TextEncoder:
    """Tokenises texts and pads them into batches.

    Attributes:
        tokenizer: A Hugging Face tokenizer.
        max_length: Longest text in tokens; longer ones are cut at the end. None: no limit.
        explicit_positions: Whether the network takes ``position_ids``.
        full_width: Pad every batch to this width and let padding be attended to; only for models trained so (SigLIP).
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int | None
    explicit_positions: bool
    full_width: int | None = None

    @property
    def pad_id(self) -> int:
        """The id that padding is filled with; it never matters, because padding is masked."""
        for candidate in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if isinstance(candidate, int):
                return candidate
        return 0

    def encode(self, texts: Sequence[Any]) -> list[Encoded]:
        """Token ids of each text, special tokens as the tokenizer adds them.

        Raises:
            DataError: A text is no string, or has no tokens at all.
        """
        for row, text in enumerate(texts):
            given: object = text
            if not isinstance(given, str):
                raise DataError(f"sample {row} is a {type(text).__name__}, and a language model reads text")
        ids = self.tokenizer(list(texts), padding=False, truncation=False, verbose=False)["input_ids"] if texts else []
        return [self._encoded(row, tokens, text) for row, (tokens, text) in enumerate(zip(ids, texts, strict=True))]

    def _encoded(self, row: int, tokens: list[int], text: str) -> Encoded:
        if not tokens:
            raise DataError(f"text {row} ({text[:40]!r}) has no tokens", "leave empty texts out")
        if self.max_length is not None and len(tokens) > self.max_length:
            logger.warning("text %d has %d tokens and is cut to %d", row, len(tokens), self.max_length)
            tokens = tokens[: self.max_length]
        return Encoded({"input_ids": tokens}, len(tokens), len(text.encode()))

    def collate(
        self, encoded: Sequence[Encoded], padding: Literal["right", "left"] = "right", width: int | None = None
    ) -> Batch:
        """Pad to the longest of the batch (or to ``width``).

        With ``padding="right"`` positions are explicit where the network takes them, so that a text's activations do
        not depend on its neighbours. With ``padding="left"`` none are given: what older tools did, and what GPT-2
        gets wrong.
        """
        longest = max(width or 0, self.full_width or 0, *(item.length for item in encoded))
        ids = torch.full((len(encoded), longest), self.pad_id, dtype=torch.long)
        mask = torch.zeros(len(encoded), longest, dtype=torch.bool)
        for row, item in enumerate(encoded):
            where = slice(0, item.length) if padding == "right" else slice(longest - item.length, longest)
            ids[row, where] = torch.as_tensor(item.inputs["input_ids"], dtype=torch.long)
            mask[row, where] = True
        inputs = {"input_ids": ids} if self.full_width else {"input_ids": ids, "attention_mask": mask.long()}
        if self.explicit_positions and padding == "right":
            inputs["position_ids"] = (mask.long().cumsum(1) - 1).clamp_min(0)
        return Batch(inputs, mask)


def length_limit(tokenizer: PreTrainedTokenizerBase, config: Any) -> int | None:
    """The longest text that a model reads: its number of positions or the tokenizer's limit; None without either."""
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    limits = (positions, tokenizer.model_max_length)
    return min((limit for limit in limits if isinstance(limit, int) and limit < _UNLIMITED), default=None)
