"""``interp.extract``: features of a model on data, in memory."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp_plugins.datasets.memory import as_dataset
from interp_plugins.datasets.resolve import resolve_dataset
from interp_plugins.methods.extract.losses import loss_totals
from interp_plugins.methods.extract.passes import Listeners, PassPlan, run_shard
from interp_plugins.methods.extract.planning import BatchPlan, batches_of
from interp_plugins.methods.extract.sources import EncodedSource, ImageSource, Source, text_source
from interp_plugins.models.config import LoadOptions, ModelKind
from interp_plugins.models.resolve import load_model
from interp_registry.contracts.data import Dataset, StreamingDataset
from interp_registry.contracts.model import Encoded, Model
from interp_registry.errors import DataError, UnknownNameError, UsageError
from interp_registry.figures import Lines, Series, Table
from interp_registry.notebook import notebook_progress
from interp_registry.stores.features import feature_name
from interp_registry.tensors.layers import Layer, select_layers
from interp_registry.tensors.pooling import Pooling, parse_pooling

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExtractOptions", "Extraction", "extract"]

Data = str | Dataset | StreamingDataset | Sequence[Any] | Tensor


@dataclass(frozen=True)
class ExtractOptions:
    """Keyword arguments of :func:`extract`."""

    layers: str = "default"
    """``default``, ``all``, or addresses: ``0,4-8,last``."""
    loss: bool | None = None
    """Compute loss and bits per byte; by default for causal language models on text."""
    max_tokens: int = 2048
    """Padded tokens per batch at most (images: 32 per batch)."""
    batch_size: int | None = None
    """Samples per batch at most."""
    limit: int | None = None
    """Only the first samples."""
    caption: int = 0
    """Which caption of each sample."""
    prompt: str | None = None
    """Template with ``{}`` where the text goes."""
    kind: ModelKind = "auto"
    """Where to look the model's name up."""
    tokenizer: Any = None
    """Name or folder of a tokenizer (or a tokenizer object, for a model object)."""
    device: str = "auto"
    """Device."""
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Type of the weights."""
    untrained: bool = False
    """Random weights in place of the trained ones."""


@dataclass(frozen=True)
class Extraction:
    """Features of one model on one data set; row i belongs to sample i."""

    features: "Float[Tensor, 'n l d'] | list[Tensor]"
    """[n, layers, d]; a list of [n, d_l] when widths differ between layers."""
    layers: tuple[Layer, ...]
    """Address of each layer."""
    pooled: "dict[str, Float[Tensor, 'n l d'] | list[Tensor]]"
    """Features by pooling, when there are several; ``features`` is the first."""
    n_params: int
    """Parameters of the model."""
    loss: float | None = None
    """Nats per token, mean over texts; None where there is none."""
    loss_micro: float | None = None
    """Nats per token over all tokens."""
    bpb: float | None = None
    """Bits per UTF-8 byte, mean over texts."""
    bpb_micro: float | None = None
    """Bits per UTF-8 byte over all bytes."""
    mask: "Int[Tensor, 'n t'] | None" = None
    """1 at real tokens: padded on the right, or on the left with ``compat="platonic"``. None for images."""

    @property
    def table(self) -> Table:
        """One row per layer: its width, and mean and standard deviation of the lengths of its vectors."""
        parts = self.features if isinstance(self.features, list) else self.features.unbind(1)
        lengths = [part.float().norm(dim=1) for part in parts]
        rows = [
            (str(layer), part.shape[1], float(norms.mean()), float(norms.std(correction=0)))
            for layer, part, norms in zip(self.layers, parts, lengths, strict=True)
        ]
        loss = [] if self.loss is None else [f"loss {self.loss:.4g} nats per token, {self.bpb:.4g} bits per byte"]
        facts = f"{len(parts[0])} samples, {self.n_params:,} parameters"
        return Table(
            ("layer", "width", "mean norm", "sd of norms"), tuple(rows), title="features", notes=(facts, *loss)
        )

    def __repr__(self) -> str:
        """Shapes and losses, and none of the numbers in the tensors."""
        shapes = [list(part.shape) for part in (self.features if isinstance(self.features, list) else [self.features])]
        facts = {"features": ", ".join(dict.fromkeys(map(str, shapes))), "layers": ",".join(map(str, self.layers))}
        facts |= {"pooled": ", ".join(self.pooled), "n_params": f"{self.n_params:,}"}
        facts |= {} if self.loss is None else {"loss": f"{self.loss:.4g}", "bpb": f"{self.bpb:.4g}"}
        return f"Extraction({', '.join(f'{name} {value}' for name, value in facts.items() if value)})"

    def _repr_html_(self) -> str:
        from interp_registry.plots.notebook import figure_html

        return figure_html(self.table)

    def to_pandas(self) -> "pd.DataFrame":
        """One row per layer: layer, width, mean and standard deviation of the norms."""
        return self.table.to_pandas()

    def plot(self) -> Any:
        """Mean norm over layers, as an interactive ``plotly.graph_objects.Figure``."""
        table = self.table
        norms = tuple(float(row[2]) for row in table.rows if isinstance(row[2], float))
        series = Series("mean norm", tuple(range(len(norms))), norms)
        return Lines((series,), x_title="position of the layer", y_title="mean norm", title="norms of features").plot()


def extract(
    model: "str | Path | Model | nn.Module",
    data: Data,
    pool: str = "avg",
    compat: Literal["platonic"] | None = None,
    **options: Any,
) -> Extraction:
    """Extract pooled representations at every layer.

    By default a text's features do not depend on its neighbours: padding is on the right, positions are explicit.
    ``compat="platonic"`` pads on the left to the longest text of all and gives no positions, which reproduces the
    published code of the Platonic Representation Hypothesis, and its defect: features of models with absolute
    positions depend on the padding.

    Args:
        model: A name, a local folder, a :class:`Model`, or a Hugging Face or timm module.
        data: Name of a data set, a Dataset, a list of texts or PIL images, or a preprocessed tensor (``[n, c, h, w]``
            pixels or ``[n, t]`` token ids).
        pool: ``avg``, ``last``, ``first``, ``cls``, ``max``, ``patch-avg``; several joined by ``+``; or per modality.
        compat: Reproduce an older tool.
        **options: See :class:`ExtractOptions`.

    Raises:
        UsageError: An unknown name or option, or a pooling that the model cannot give.
        DataError: The data is empty or of the wrong modality.
    """
    chosen = _options(options)
    if compat not in (None, "platonic"):
        raise UnknownNameError("compat", str(compat), ["platonic"])
    loaded = _loaded(model, chosen)
    source = _source(loaded, data, chosen)
    if len(source) == 0:
        raise DataError("there are no samples to extract from")
    modality = "vision" if loaded.info.modality == "vision" else "language"
    poolings = parse_pooling(pool)[modality]
    if "none" in poolings:
        raise UsageError("interp.extract pools; token activations go to the store: `interp extract --pool none`")
    layers = tuple(select_layers(chosen.layers, loaded.info.layers, loaded.info.default_layers))
    rows = range(len(source))
    lengths = source.lengths(rows)
    left_width = max(lengths) if compat and modality == "language" else None
    loss = chosen.loss if chosen.loss is not None else loaded.info.causal
    plan = PassPlan(layers, poolings, loss=loss, left_width=left_width)
    budget = chosen.max_tokens if modality == "language" else chosen.batch_size or 32
    batches = batches_of(lengths, BatchPlan(budget, chosen.batch_size, bucket=compat is None))
    tensors = run_shard(loaded, source, rows, batches, plan, _notebook_listeners(len(source))).tensors
    mask = _mask(lengths, left=compat is not None) if modality == "language" else None
    return _extraction(loaded, source, plan, tensors, mask)


def _notebook_listeners(n: int) -> Listeners:
    """Shows how far the extraction is in the cell of a notebook, and nothing elsewhere."""
    shown, done = notebook_progress("extract", n, "samples"), 0

    def count(n_rows: int) -> None:
        nonlocal done
        done += n_rows
        shown(done)

    return Listeners(rows=count)


def _extraction(model: Model, source: Source, plan: PassPlan, tensors: dict[str, Tensor], mask: Any) -> Extraction:
    pooled = {pooling: _stacked(tensors, pooling, plan.layers) for pooling in plan.poolings}
    totals: dict[str, Any] = {}
    if plan.loss:
        n_bytes = [item.n_bytes for item in source.load(range(len(source)))]
        found = loss_totals(tensors["nats"].tolist(), tensors["n_scored"].tolist(), n_bytes)
        totals = {name: getattr(found, name) for name in ("loss", "loss_micro", "bpb", "bpb_micro")}
    features = pooled[plan.poolings[0]]
    return Extraction(features, plan.layers, pooled, model.info.n_params, mask=mask, **totals)


def _stacked(tensors: dict[str, Tensor], pooling: Pooling, layers: Sequence[Layer]) -> "Tensor | list[Tensor]":
    parts = [tensors[feature_name(pooling, layer)] for layer in layers]
    return torch.stack(parts, dim=1) if len({part.shape[1] for part in parts}) == 1 else parts


def _mask(lengths: Sequence[int], *, left: bool) -> Int[Tensor, "n t"]:
    places = torch.arange(max(lengths))[None]
    counts = torch.tensor(lengths)[:, None]
    return (places >= max(lengths) - counts if left else places < counts).long()


def _options(options: dict[str, Any]) -> ExtractOptions:
    known = [field.name for field in dataclasses.fields(ExtractOptions)]
    for name in options:
        if name not in known:
            raise UnknownNameError("option of extract", name, known)
    return ExtractOptions(**options)


def _loaded(model: "str | Path | Model | nn.Module", options: ExtractOptions) -> Model:
    if isinstance(model, nn.Module):
        from interp_plugins.models.wrapping import wrap_module

        return wrap_module(model, options.tokenizer)
    if not isinstance(model, str | Path):
        return model
    tokenizer = None if options.tokenizer is None else str(options.tokenizer)
    load = LoadOptions(dtype=options.dtype, device=options.device, tokenizer=tokenizer, untrained=options.untrained)
    return load_model(str(model), load, options.kind)


def _source(model: Model, data: Data, options: ExtractOptions) -> Source:
    if isinstance(data, Tensor):
        return _tensor_source(model, data)
    dataset = resolve_dataset(data) if isinstance(data, str) else data
    whole = dataset if isinstance(dataset, Dataset | StreamingDataset) else as_dataset(dataset)
    finite = whole.select(options.limit)
    if model.info.modality == "vision":
        return ImageSource(model, finite)
    if model.info.modality == "two_tower":
        raise UsageError(f"{model.info.name} has two towers", "name one: NAME:text or NAME:vision")
    return text_source(model, finite, (options.caption,), options.prompt)


def _tensor_source(model: Model, data: Tensor) -> EncodedSource:
    if model.info.modality == "vision":
        if data.ndim != 4:
            raise DataError(
                f"a tensor of shape {list(data.shape)} holds no images", "give [n, channels, height, width]"
            )
        items = [Encoded({"pixel_values": image.float()}) for image in data]
    elif data.ndim == 2 and not data.is_floating_point():
        items = [Encoded({"input_ids": row.tolist()}, data.shape[1]) for row in data]
    else:
        raise DataError(
            f"a {data.dtype} tensor of shape {list(data.shape)} is no batch of token ids", "give [n, t] ids"
        )
    return EncodedSource(items, [str(row) for row in range(len(items))])
