"""The scores of a demonstration: every language model with every vision model, for one number of captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interp_plugins.embedded.zoo import INIT_SUFFIX
from interp_registry.errors import InterpError

__all__ = ["Grid", "is_trained", "shown_name"]


def is_trained(name: str) -> bool:
    """Whether a model of the zoo is a trained one."""
    return not name.endswith(INIT_SUFFIX)


def shown_name(name: str) -> str:
    """A model's name in tables and figures."""
    return name if is_trained(name) else f"{name.removesuffix(INIT_SUFFIX)} (untrained)"


@dataclass(frozen=True)
class Grid:
    """Records of `interp align` by pair of models.

    Attributes:
        n_captions: Captions that were joined into one text.
        records: (language model, vision model) -> its record.
        language: Language models, trained ones first.
        vision: Vision models, trained ones first.
        losses: Nats per token of each language model on these texts.
        ceiling: What a perfect reader of these texts would reach.
    """

    n_captions: int
    records: Mapping[tuple[str, str], Mapping[str, Any]]
    language: Sequence[str]
    vision: Sequence[str]
    losses: Mapping[str, float]
    ceiling: float

    @property
    def trained_language(self) -> list[str]:
        """Trained language models, smallest first."""
        return [name for name in self.language if is_trained(name)]

    @property
    def trained_vision(self) -> list[str]:
        """Trained vision models, smallest first."""
        return [name for name in self.vision if is_trained(name)]

    @property
    def best(self) -> tuple[str, str]:
        """The trained pair that agrees most.

        Raises:
            InterpError: All models of one kind failed.
        """
        pairs = [(x, y) for x in self.trained_language for y in self.trained_vision]
        if not pairs:
            raise InterpError(
                "no trained language and vision model could be compared", "see what failed in the run's events"
            )
        return max(pairs, key=lambda pair: self.score(*pair))

    @property
    def null(self) -> float:
        """Mean over permutations and trained pairs of the best score over layer pairs, with the scenes shuffled."""
        means = [self.records[x, y]["null mean"] for x in self.trained_language for y in self.trained_vision]
        return sum(means) / len(means)

    @property
    def words(self) -> str:
        """How many captions, in words."""
        return "1 caption" if self.n_captions == 1 else f"{self.n_captions} captions"

    @property
    def n_scenes(self) -> int:
        """Number of scenes."""
        return next(iter(self.records.values()))["n"]

    def score(self, language: str, vision: str) -> float:
        """Score of the best pair of layers."""
        return float(self.records[language, vision]["score"])

    def bag_of_tokens(self, language: str, vision: str) -> float:
        """The embedding layer alone: the best over the vision model's layers."""
        return float(self.records[language, vision]["embedding"])
