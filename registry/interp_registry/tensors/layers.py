"""Layer addresses: one convention for every model, and the grammar in which users choose layers.

``layer = l`` is Hugging Face's ``hidden_states[l]``: 0 is the input of the first block (for a transformer: the
embeddings), ``l`` is the output of block ``l - 1``, and the last one, ``L``, is taken after the final norm. The
output of the last block before that norm is ``L.pre_norm``. A network of stages (a convolutional one) counts stages
in place of blocks. A model of two towers prefixes the tower: ``vision:3``. An address is not an index into an array
of features: those arrays carry their addresses beside them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import total_ordering

from interp_registry.errors import UsageError

__all__ = ["Layer", "select_layers"]

_ADDRESS = re.compile(r"(?:(?P<tower>[a-z_]+):)?(?P<index>-?\d+|L|last)(?P<pre_norm>\.pre_norm)?")
_RANGE = re.compile(r"(?P<first>\d+)-(?P<last>\d+)(?::(?P<step>\d+))?")


@total_ordering
@dataclass(frozen=True)
class Layer:
    """The address of a place in a network where a representation can be read.

    Addresses sort in the order of computation: ``L.pre_norm`` comes just before ``L``.
    """

    index: int
    """0 for the embeddings, ``l`` for the output of block ``l - 1``."""
    pre_norm: bool = False
    """True for the last block's output before the final norm."""
    tower: str = ""
    """Name of the tower ("text", "vision") in a model of two towers, else empty."""

    def __str__(self) -> str:
        prefix = f"{self.tower}:" if self.tower else ""
        return f"{prefix}{self.index}{'.pre_norm' if self.pre_norm else ''}"

    def __lt__(self, other: "Layer") -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[str, int, bool]:
        return self.tower, self.index, not self.pre_norm

    @classmethod
    def parse(cls, text: str | int, last: int | None = None) -> "Layer":
        """Read an address such as ``3``, ``12.pre_norm``, ``L``, ``-1`` or ``vision:2``.

        Args:
            text: The address.
            last: Index of the model's last layer, which ``L``, ``last`` and negative numbers count from.

        Raises:
            UsageError: The text is no address, or it counts from the end and ``last`` is not known.
        """
        match = _ADDRESS.fullmatch(str(text).strip())
        if match is None:
            raise UsageError(f"{text!r} is no layer address", "write 3, -1, L, 12.pre_norm or vision:2")
        word = match["index"]
        index = last if word in {"L", "last"} else int(word)
        if index is not None and index < 0:
            index = None if last is None else last + 1 + index
        if index is None or index < 0:
            raise UsageError(f"layer {text!r} counts from the end of a model with {last} as its last layer")
        return cls(index, pre_norm=match["pre_norm"] is not None, tower=match["tower"] or "")


def select_layers(choice: str, available: Sequence[Layer], default: Sequence[Layer]) -> list[Layer]:
    """The layers that a user's ``choice`` names, in order of computation and without repetition.

    Args:
        choice: ``default``, ``all``, or a comma-separated list of addresses and ranges: ``0,4-8,last``, ``0-24:4``,
            ``-1``.
        available: Every layer that the model offers.
        default: What ``default`` stands for.

    Raises:
        UsageError: An address does not exist in this model or cannot be read.
    """
    word = choice.strip()
    if word in {"", "default"}:
        return list(default)
    if word == "all":
        return sorted(available)
    last = max(layer.index for layer in available)
    chosen: set[Layer] = set()
    for part in word.split(","):
        chosen.update(_expand(part.strip(), available, last))
    return sorted(chosen)


def _expand(part: str, available: Sequence[Layer], last: int) -> list[Layer]:
    match = _RANGE.fullmatch(part)
    if match is not None:
        numbers = range(int(match["first"]), int(match["last"]) + 1, int(match["step"] or 1))
        wanted = [Layer(number) for number in numbers]
    else:
        wanted = [Layer.parse(part, last)]
    missing = [layer for layer in wanted if layer not in available]
    if missing or not wanted:
        names = ", ".join(str(layer) for layer in available)
        raise UsageError(f"there is no layer {part!r} in this model", f"it has {names}")
    return wanted
