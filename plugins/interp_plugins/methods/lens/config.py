"""Configurations of ``interp lens dump``, ``train``, ``show``, ``import`` and ``export``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from interp_plugins.methods.lens.choices import LensConfig, LensExportConfig, LensImportConfig
from interp_plugins.models.config import LoadOptions, ModelKind
from interp_registry.training.config import TrainingConfig

__all__ = [
    "DumpConfig",
    "DumpSettings",
    "ExportConfig",
    "ImportConfig",
    "LensTrainConfig",
    "PatchscopeOptions",
    "ShowConfig",
]

_MODELS = "interp_plugins.embedded.zoo:names"


@dataclass
class DumpSettings:
    """What is dumped, and from what."""

    dataset: str = field(default="shapes:split=train", metadata={"complete": "dataset"})
    """Texts: a data set's name (shapes:split=train), a file (.jsonl, .csv, .parquet), or a data set of the hub."""
    layers: str = "all"
    """Layers by the index of hidden_states: all (0 to L, L before the final norm), or a list: 2,4-8,last."""
    positions: str = "all"
    """Tokens of each text: random:K, all, last or every:N, with min:N for the smallest position (random:4,min:8)."""
    seq_len: int = 128
    """Cut texts to this many tokens."""
    dtype: Literal["bf16", "fp16", "fp32"] = "bf16"
    """Type in which activations are stored; fp16 is refused when they do not fit in it."""
    limit: int | None = None
    """Only the first texts; all when not given."""
    caption: list[int] = field(default_factory=lambda: [0])
    """Which text of each sample; several are joined by " . "."""
    prompt: str | None = None
    """Template around each text, with {} where it goes."""
    batch_tokens: int = 2048
    """Padded tokens per forward pass."""
    shard_mb: int = 32
    """About how large a shard is, in MiB: what is computed again at most after a kill."""
    kind: ModelKind = "auto"
    """Where to look the model up, when its name is ambiguous."""
    loading: LoadOptions = field(default_factory=LoadOptions)
    """How the model is loaded."""


@dataclass
class DumpConfig(DumpSettings):
    """Store activations of chosen layers and tokens."""

    model: str = field(default="lm-d128", metadata={"positional": True, "complete": _MODELS})
    """A causal language model: of the zoo, a folder, or of the hub."""


def _training() -> TrainingConfig:
    return TrainingConfig(steps=250, clip_norm=1.0, checkpoint_every=100, keep_last=3)


@dataclass
class LensTrainConfig(DumpSettings):
    """Train a lens on dumped activations."""

    method: LensConfig = field(metadata={"positional": True, "complete": "lens"}, kw_only=True)
    """Which lens."""
    model: str = field(default="lm-d128", metadata={"positional": True, "complete": _MODELS})
    """The causal language model that is read."""
    dump: str | None = None
    """Key of stored activations to train on, in place of those that the other settings describe."""
    training: TrainingConfig = field(default_factory=_training)
    """Steps, schedule, checkpoints."""


@dataclass
class ImportConfig:
    """Bring in a lens or activations of another tool."""

    format: LensImportConfig = field(metadata={"positional": True, "complete": "lens_import"}, kw_only=True)
    """What it is."""
    path: Path = field(default=Path(), metadata={"positional": True})
    """File or folder to read; nothing in it is executed."""
    model: str = field(default="", metadata={"complete": _MODELS})
    """The model that it belongs to, where the file does not name one that can be loaded."""
    kind: ModelKind = "auto"
    """Where to look the model up, when its name is ambiguous."""
    loading: LoadOptions = field(default_factory=LoadOptions)
    """How the model is loaded."""


@dataclass
class ExportConfig:
    """Write a lens for another tool."""

    format: LensExportConfig = field(metadata={"positional": True, "complete": "lens_export"}, kw_only=True)
    """What to write."""
    lens: str = field(default="", metadata={"positional": True})
    """A run of `interp lens train`, or a lens folder."""
    to: Path | None = None
    """Folder to write into; the run's own when not given."""
    model: str = field(default="", metadata={"complete": _MODELS})
    """The model; the one that the lens names when not given."""
    kind: ModelKind = "auto"
    """Where to look the model up, when its name is ambiguous."""
    loading: LoadOptions = field(default_factory=LoadOptions)
    """How the model is loaded."""


@dataclass
class PatchscopeOptions:
    """How an activation is put into another prompt (Ghandeharioun et al. 2024)."""

    prompt: str = "cat->cat; 1135->1135; hello->hello; ?"
    """the target prompt; the activation replaces the one of its last token"""
    layers: str = ""
    """target layers; the source's own when not given"""
    tokens: int = 8
    """how many tokens to generate"""


@dataclass
class ShowConfig:
    """Show what a lens reads in a text."""

    lens: str = field(default="logit", metadata={"positional": True, "complete": "lens"})
    """A run of `interp lens train`, a lens folder, or a lens without parameters (logit)."""
    model: str = field(default="lm-d128", metadata={"positional": True, "complete": _MODELS})
    """The causal language model that is read."""
    text: str = "a small red circle is above a large blue square ."
    """The text."""
    layers: str = "all"
    """Layers, of those that the lens takes: all, or a list: 2,4-8,last."""
    positions: str = "last"
    """Tokens to explain, for lenses that explain, and to put into the patchscope's prompt: all, last, every:N, or numbers: 3,5."""
    top: int = 5
    """How many predictions to list for each cell."""
    samples: int = 1
    """Explanations of each activation; the first is greedy."""
    patchscope: bool = False
    """Also put the activations into another prompt and let the model go on from there."""
    patch: PatchscopeOptions = field(default_factory=PatchscopeOptions)
    """Settings of the patchscope."""
    kind: ModelKind = "auto"
    """Where to look the model up, when its name is ambiguous."""
    loading: LoadOptions = field(default_factory=LoadOptions)
    """How the model is loaded."""
