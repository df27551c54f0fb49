"""Facts that a data set knows about its texts, and how many of them words name.

A data set that can be asked derives its answers from :class:`KnowsFacts`' two members; the embedded world does.

Axes: n rows, f facts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["KnowsFacts", "Naming", "named_facts", "naming", "top_facts", "true_facts"]


@runtime_checkable
class KnowsFacts(Protocol):
    """A data set that knows facts about its items: what a text is about, whether it says so or not."""

    @property
    def fact_words(self) -> Mapping[str, Sequence[str]]:
        """Every fact that can hold, and the words that name it: "colour:red" -> red, crimson, ..."""
        ...

    def facts(self, index: int) -> frozenset[str]:
        """The facts that hold of item ``index``: a subset of the keys of :attr:`fact_words`."""
        ...


@dataclass(frozen=True)
class Naming:
    """How many facts the words of each row name, as summands: a ratio of sums is a share."""

    right: Float[Tensor, "n"]
    """Facts that are named and hold."""
    named: Float[Tensor, "n"]
    """Facts that are named."""
    holding: Float[Tensor, "n"]
    """Facts that hold."""

    @property
    def recall(self) -> float:
        """Share of the facts that hold which are named."""
        return float(self.right.sum() / self.holding.sum())

    @property
    def precision(self) -> float:
        """Share of the named facts that hold; NaN when none is named."""
        return float(self.right.sum() / self.named.sum())


def true_facts(dataset: KnowsFacts, documents: Int[Tensor, "n"]) -> Bool[Tensor, "n f"]:
    """Which facts hold of each row's document; columns in the order of ``dataset.fact_words``."""
    column = {fact: number for number, fact in enumerate(dataset.fact_words)}
    table = torch.zeros(len(documents), len(column), dtype=torch.bool)
    for row, document in enumerate(documents.tolist()):
        for fact in dataset.facts(document):
            table[row, column[fact]] = True
    return table


def named_facts(dataset: KnowsFacts, texts: Sequence[str]) -> Bool[Tensor, "n f"]:
    """Which facts each text names: those one of whose words stands in it as a whole word, in any case."""
    column_of: dict[str, list[int]] = {}
    for number, words in enumerate(dataset.fact_words.values()):
        for word in words:
            column_of.setdefault(word.lower(), []).append(number)
    table = torch.zeros(len(texts), len(dataset.fact_words), dtype=torch.bool)
    for row, text in enumerate(texts):
        for word in re.findall(r"\w+", text.lower()):
            table[row, column_of.get(word, [])] = True
    return table


def naming(named: Bool[Tensor, "n f"], true: Bool[Tensor, "n f"]) -> Naming:
    """Count what is named and what holds."""
    return Naming((named & true).double().sum(1), named.double().sum(1), true.double().sum(1))


def top_facts(scores: Float[Tensor, "n f"], counts: Int[Tensor, "n"]) -> Bool[Tensor, "n f"]:
    """For each row its ``counts`` best-scored facts: what a probe names when it may name that many."""
    ranks = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return ranks < counts[:, None]
