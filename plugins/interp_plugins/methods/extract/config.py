"""Configuration of ``interp extract``."""

from dataclasses import dataclass, field
from typing import Literal

from interp_plugins.models.config import LoadOptions, ModelKind
from interp_registry.errors import ConfigError

__all__ = ["ExtractConfig"]


@dataclass
class ExtractConfig:
    """What to extract, from what, and how."""

    models: list[str] = field(
        default_factory=list, metadata={"positional": True, "complete": "interp_plugins.embedded.zoo:names modelsets"}
    )
    """Models: of the zoo (lm-d64), a folder, timm (vit_tiny_patch16_224.augreg_in21k), the hub (gpt2); NAME:text and NAME:vision
    are the towers of a two-tower model."""
    dataset: str = field(default="shapes", metadata={"complete": "dataset"})
    """Data set: a name (shapes, prh), a file (.jsonl, .csv, .tsv, .parquet, .tar), a folder of images or archives, or a data set of
    the hub; options follow a colon (captions.csv:text=caption)."""
    pool: str = "avg"
    """Poolings: avg, last, first, cls, max, patch-avg, none; several joined by + (avg+last); or by modality
    (language=avg,vision=cls). With none every token goes to the activation store."""
    modelset: str | None = None
    """Extract a whole model set: val, test, exhaustive, custom, or one of your own."""
    modality: Literal["all", "language", "vision"] = "all"
    """Which models of the set, or which towers, to take."""
    layers: str = "default"
    """default (language models 0..L, vision models 1..L-1 and L.pre_norm), all, or addresses: 0,4-8,last."""
    limit: int | None = None
    """Only the first samples; all when not given."""
    shuffle_seed: int | None = None
    """Shuffle the samples with this seed before --limit."""
    caption: list[int] = field(default_factory=lambda: [0])
    """Which text of each sample; several are joined by " . " (0,1,2)."""
    prompt: str | None = None
    """Template around each text, with {} where it goes."""
    loss: bool = False
    """Also compute each text's loss and bits per byte (causal language models)."""
    compat: Literal["platonic"] | None = None
    """platonic: pad on the left to the longest text of all and give no positions, as the published code did."""
    batch_size: int | None = field(default=None, metadata={"flags": ("-b",)})
    """Samples per batch at most; found by itself when not given."""
    max_tokens: int | None = None
    """Padded tokens per batch at most; found by itself when not given."""
    shard_rows: int = 512
    """Samples per shard: what is computed again at most after a kill."""
    store_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the stored features; pooling always sums in fp32."""
    kind: ModelKind = "auto"
    """Where to look names up, when one is ambiguous: embedded, huggingface, timm, plugin."""
    model: LoadOptions = field(default_factory=LoadOptions)
    """How the weights are loaded; --dtype, --quantize, --compile, --untrained and the like set its fields."""
    workers: int = 2
    """Threads that read and decode the next batches."""
    repair: bool = False
    """Check everything that is stored, remove what is corrupt, and compute it again."""

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        for name in ("limit", "batch_size", "max_tokens", "shard_rows", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{value} is too few", name, "at least 1")
