"""Options of `interp demo`; nothing heavy is imported here."""

from dataclasses import dataclass, field

from interp_registry.errors import ConfigError

__all__ = ["DemoConfig"]


@dataclass
class DemoConfig:
    """What the demonstration measures."""

    captions: list[int] = field(default_factory=lambda: [1, 3])
    """how many captions of each scene a language model reads; one matrix for each number, 1 to 5"""
    topk: int = 10
    """number of nearest neighbours"""
    permutations: int = 200
    """shuffles of the scenes that make the null"""
    limit: int | None = None
    """only the first scenes; all 1,024 when left out"""
    skip_embedding: bool = False
    """leave the embedding layer of language models out of the search for the best pair of layers"""

    def __post_init__(self) -> None:
        """Check what needs no data."""
        if (
            not self.captions
            or not all(1 <= n <= 5 for n in self.captions)
            or len(set(self.captions)) < len(self.captions)
        ):
            raise ConfigError(
                f"{self.captions} are not different numbers from 1 to 5", "captions", "e.g. --captions 1,3"
            )
        if self.permutations < 1:
            raise ConfigError(f"{self.permutations} permutations make no null", "permutations", "200 is usual")
