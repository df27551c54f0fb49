"""The two prompts of a natural-language autoencoder: one with a marker for the activation, one around an explanation.

Both are checked token by token against what the sidecar states: a tokenizer that differs would put the activation, or the place where
it is read, one token off, and nothing would fail.

Axes: n rows, s tokens of a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from interp_plugins.methods.lens.nla.sidecar import MarkerTokens
from interp_registry.errors import DataError

__all__ = [
    "ReadingPrompt",
    "VerbaliserPrompt",
    "chat_ids",
    "describe_marker",
    "fill",
    "pick_marker",
    "suffix_ids",
]

_MARKER_RANGE = range(0x3200, 0x3400)
"""Where published autoencoders take their markers from: enclosed letters and squared words, which no text has."""


def fill(template: str, name: str, value: str) -> str:
    """A template with ``{name}`` replaced; doubled braces elsewhere stand for single ones, as in Python's format strings."""
    parts = template.split("{" + name + "}")
    return value.join(part.replace("{{", "{").replace("}}", "}") for part in parts)


def chat_ids(tokenizer: PreTrainedTokenizerBase, content: str) -> list[int]:
    """Tokens of one user message with the chat template, up to where the answer begins.

    In one step: rendered to text first and then encoded, some tokenizers put a second beginning-of-sequence token in front, which
    shifts every position by one.
    """
    ids: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, add_generation_prompt=True, return_dict=False
    )
    return [int(token) for token in ids]


def pick_marker(tokenizer: PreTrainedTokenizerBase) -> str:
    """A marker that is a single token: the first such character of U+3200 to U+33FF, else a special token without another use.

    Raises:
        DataError: The tokenizer has neither.
    """
    used: list[Any] = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token]
    spare = [token for token in tokenizer.all_special_tokens if token not in used]
    added = [
        str(token) for token in tokenizer.added_tokens_decoder.values() if token.special and str(token) not in used
    ]
    for char in (*map(chr, _MARKER_RANGE), *spare, *added):
        if _single(tokenizer, char) is not None:
            return char
    raise DataError(
        "no character of U+3200 to U+33FF and no unused special token is a single token of this tokenizer",
        "name one with --method.marker",
    )


def describe_marker(tokenizer: PreTrainedTokenizerBase, template: str, char: str) -> MarkerTokens:
    """The marker's token and its neighbours in a prompt: what a new sidecar states.

    Raises:
        DataError: The marker is not one token, or does not occur exactly once inside of the prompt.
    """
    token = _single(tokenizer, char)
    if token is None:
        raise DataError(f"the marker {char!r} is not a single token", "choose another with --method.marker")
    ids = chat_ids(tokenizer, fill(template, "injection_char", char))
    place = _place(ids, token, f"the prompt {template!r}")
    return MarkerTokens(char, token, ids[place - 1], ids[place + 1])


@dataclass(frozen=True)
class VerbaliserPrompt:
    """Tokens of the verbaliser's prompt, and where the marker is."""

    ids: tuple[int, ...]
    """All tokens up to where the answer begins."""
    position: int
    """Place of the marker."""

    @classmethod
    def build(
        cls, tokenizer: PreTrainedTokenizerBase, template: str, tokens: MarkerTokens, where: Path | str
    ) -> "VerbaliserPrompt":
        """Make the prompt and check it.

        Args:
            tokenizer: Of the checkpoint.
            template: With ``{injection_char}``.
            tokens: What the sidecar states.
            where: The sidecar, for messages.

        Raises:
            DataError: The marker is another token, is not there exactly once, or has other neighbours; or the prompt does not
                begin with the one beginning-of-sequence token that the tokenizer puts before texts.
        """
        found = _single(tokenizer, tokens.char)
        if found is None:
            raise DataError(
                f"{where}: tokens.injection_char {tokens.char!r} is not a single token of the tokenizer beside it",
                "is it the tokenizer of this checkpoint?",
            )
        if found != tokens.token_id:
            raise DataError(
                f"{where}: tokens.injection_token_id is {tokens.token_id}, the tokenizer beside it gives {found}"
            )
        ids = chat_ids(tokenizer, fill(template, "injection_char", tokens.char))
        place = _place(ids, found, f"{where}: the prompt")
        for name, stated, actual in (
            ("left", tokens.left_id, ids[place - 1]),
            ("right", tokens.right_id, ids[place + 1]),
        ):
            if stated != actual:
                raise DataError(
                    f"{where}: tokens.injection_{name}_neighbor_id is {stated}, the prompt has {actual} there",
                    "the prompt template or the tokenizer is not the one that the checkpoint was trained with",
                )
        _check_bos(tokenizer, ids, where)
        return cls(tuple(ids), place)


def _check_bos(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], where: Path | str) -> None:
    """Refuse a prompt without the beginning-of-sequence token that texts get, or with two."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return
    if bos in ids[1:]:
        raise DataError(f"{where}: the prompt has a second beginning-of-sequence token", "look at its chat template")
    texts_have_it = tokenizer("a")["input_ids"][:1] == [bos]
    if texts_have_it and ids[0] != bos:
        raise DataError(
            f"{where}: the prompt does not begin with {tokenizer.bos_token!r}", "the chat template leaves it out"
        )


def _single(tokenizer: PreTrainedTokenizerBase, char: str) -> int | None:
    """The one token of a marker; None when it is several, or unknown."""
    ids = tokenizer.encode(char, add_special_tokens=False)
    return ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None


def _place(ids: Sequence[int], token: int, what: str) -> int:
    places = [place for place, other in enumerate(ids) if other == token]
    if len(places) != 1:
        raise DataError(f"{what} has the marker {len(places)} times", "it must be there exactly once")
    if not 0 < places[0] < len(ids) - 1:
        raise DataError(f"{what} has the marker at its edge", "it must have a neighbour on both sides")
    return places[0]


def suffix_ids(tokenizer: PreTrainedTokenizerBase, template: str) -> tuple[int, ...]:
    """Tokens that every filled reading prompt ends with: those of the text after ``{explanation}`` but the first.

    The first can merge with the end of an explanation; the others cannot.

    Raises:
        DataError: The text after ``{explanation}`` has fewer than two tokens.
    """
    after = template.rsplit("{explanation}", maxsplit=1)[-1]
    ids = tokenizer.encode(after, add_special_tokens=False)
    if len(ids) < 2:
        raise DataError(
            f"the reading prompt {template!r} has {len(ids)} tokens after the explanation", "it needs at least 2"
        )
    return tuple(ids[1:])


@dataclass(frozen=True)
class ReadingPrompt:
    """The reconstructor's prompt: a plain text around an explanation, read at its last token."""

    tokenizer: PreTrainedTokenizerBase
    """Of the checkpoint."""
    template: str
    """With ``{explanation}``."""
    suffix: tuple[int, ...]
    """Last tokens of every filled prompt."""
    where: str
    """The sidecar, for messages."""

    @classmethod
    def build(
        cls, tokenizer: PreTrainedTokenizerBase, template: str, stated: tuple[int, ...], where: Path | str
    ) -> "ReadingPrompt":
        """Make the prompt and check it on a probe.

        Raises:
            DataError: The template's end is not the stated one, or a filled prompt lacks the beginning-of-sequence token.
        """
        found = suffix_ids(tokenizer, template)
        if stated and stated != found:
            raise DataError(
                f"{where}: tokens.critic_suffix_ids is {list(stated)}, the template ends with {list(found)}",
                "the template or the tokenizer is not the one that the checkpoint was trained with",
            )
        prompt = cls(tokenizer, template, stated or found, str(where))
        prompt.encode(["a"])
        return prompt

    def encode(self, texts: Sequence[str]) -> tuple[Int[Tensor, "n s"], Int[Tensor, "n"]]:
        """Tokens of the filled prompts, padded on the right, and their lengths.

        Raises:
            DataError: A prompt lacks the beginning-of-sequence token, or does not end as the sidecar states.
        """
        filled = [fill(self.template, "explanation", text.strip()) for text in texts]
        rows: list[list[int]] = self.tokenizer(filled, add_special_tokens=True)["input_ids"]  # pyright: ignore[reportAssignmentType]
        bos = self.tokenizer.bos_token_id
        for row in rows:
            if bos is not None and row[0] != bos:
                raise DataError(
                    f"{self.where}: the reading prompt does not begin with {self.tokenizer.bos_token!r}",
                    "the tokenizer beside it does not add it; the reconstruction would be far off",
                )
            if tuple(row[-len(self.suffix) :]) != self.suffix:
                raise DataError(
                    f"{self.where}: tokens.critic_suffix_ids is {list(self.suffix)}, "
                    f"a filled prompt ends with {row[-len(self.suffix) :]}"
                )
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
        return ids, lengths
