"""Which tokens of a text are dumped: a small grammar, drawn for each document by itself."""

import re
from dataclasses import dataclass

import torch

from interp_registry.errors import ConfigError
from interp_registry.tensors.seeding import generator

__all__ = ["Positions"]

_PART = re.compile(r"(?P<word>random|every|min):(?P<number>\d+)|(?P<plain>all|last)")


@dataclass(frozen=True)
class Positions:
    """A choice of token positions, the same for a document whatever else is dumped."""

    kind: str
    """``random``, ``all``, ``last`` or ``every``."""
    number: int = 1
    """How many random positions, or the distance between positions."""
    first: int = 0
    """Smallest position that is taken."""

    @classmethod
    def parse(cls, text: str) -> "Positions":
        """Read ``random:4``, ``all``, ``last`` or ``every:8``, with ``min:5`` behind a comma for the smallest position.

        Raises:
            ConfigError: The text is no such choice.
        """
        kind, number, first = None, 1, 0
        for part in text.split(","):
            match = _PART.fullmatch(part.strip())
            word = match and (match["plain"] or match["word"])
            if match is None or (word != "min" and kind is not None):
                raise ConfigError(
                    f"{text!r} chooses no positions", "positions", "e.g. random:4,min:8 or all, last, every:8"
                )
            if word == "min":
                first = int(match["number"])
            else:
                kind, number = word, int(match["number"] or 1)
        if number < 1:
            raise ConfigError(f"{text!r}: {number} is too few", "positions", "at least 1")
        return cls(kind or "all", number, first)

    def of(self, length: int, seed: int, document: int) -> list[int]:
        """Positions of one document of ``length`` tokens, in increasing order; none when it is shorter than ``first``.

        Random ones are drawn without replacement by a generator made from seed and document.
        """
        allowed = range(self.first, length)
        if self.kind == "last":
            return [length - 1] if allowed else []
        if self.kind == "every":
            return list(allowed[:: self.number])
        if self.kind == "random" and len(allowed) > self.number:
            order = torch.randperm(len(allowed), generator=generator(seed, "lens positions", document))
            return sorted(allowed[place] for place in order[: self.number].tolist())
        return list(allowed)
