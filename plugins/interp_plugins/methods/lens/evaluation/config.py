"""Configurations of ``interp lens eval`` and ``interp lens demo``; nothing heavy is imported here."""

from dataclasses import dataclass, field

from interp_plugins.methods.lens.config import DumpSettings
from interp_registry.errors import ConfigError

__all__ = ["PARTS", "EvalConfig", "LensDemoConfig"]

PARTS = ("swap", "readout", "text", "best-of")
"""The parts of the suite: interventions, predictions of readouts, explanations as text, best of several samples."""


@dataclass
class EvalConfig(DumpSettings):
    """Put lenses to the test."""

    lens: list[str] = field(metadata={"positional": True}, kw_only=True)
    """Runs or folders of trained lenses, or methods that need no training (logit)."""
    model: str | None = None
    """The causal language model; that of the first trained lens when not given, else lm-d128."""
    dump: str | None = None
    """Key of stored activations; those that the first trained lens learned from when not given, else those that the other settings
    describe. Only their validation documents are evaluated."""
    suite: list[str] = field(default_factory=lambda: ["all"])
    """Parts of the suite: all, or some of swap, readout, text, best-of."""
    rows: int = 500
    """Validation rows to evaluate at each layer."""
    training_rows: int = 20_000
    """Training rows that baselines and probes are fitted on."""
    window: int = 8
    """Positions after the swapped one that are looked at."""
    batch_size: int = 64
    """Texts per forward pass."""
    tokens: int = 6
    """Tokens of a readout's token set."""
    samples: int = 8
    """Samples of the best-of curve."""

    def __post_init__(self) -> None:
        """Check what needs no data."""
        unknown = [part for part in self.suite if part not in (*PARTS, "all")]
        if unknown or not self.suite:
            raise ConfigError(
                f"{self.suite} are not parts of the suite", "suite", f"all, or some of {', '.join(PARTS)}"
            )
        for name, least in (
            ("rows", 2), ("training_rows", 2), ("window", 0), ("batch_size", 1), ("tokens", 1), ("samples", 1),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"{getattr(self, name)} is too few", name, f"at least {least}")


@dataclass
class LensDemoConfig:
    """What the demonstration trains and measures."""

    model: str = field(default="lm-d128", metadata={"positional": True})
    """The causal language model that is read."""
    dataset: str = "shapes:split=train,captions_per_item=2"
    """Texts; facts are counted where the data set knows any."""
    positions: str = "random:2,min:8"
    """Tokens of each text."""
    layer: int = 2
    """Layer of the text bottleneck."""
    steps: int = 500
    """Updates of the text bottleneck."""
    tuned_steps: int = 250
    """Updates of the tuned lens."""
    limit: int | None = None
    """Only the first texts; all when not given."""
    rows: int = 500
    """Validation rows to evaluate at each layer."""

    def __post_init__(self) -> None:
        """Check what needs no data."""
        for name in ("steps", "tuned_steps", "rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{getattr(self, name)} is too few", name, "at least 1")
