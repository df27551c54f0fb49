"""Forward passes over one shard: pooled activations and losses of every row, whatever becomes of a batch on the way."""

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.extract.losses import text_nats
from interp_plugins.methods.extract.sources import Source
from interp_registry.contracts.model import Batch, Encoded, Model, Unembeds
from interp_registry.errors import DataError, PluginError, ResourceError, UsageError
from interp_registry.hardware import is_out_of_memory
from interp_registry.stores.features import feature_name
from interp_registry.tensors.layers import Layer
from interp_registry.tensors.pooling import Pooling, PoolPlan, as_tokens, pool_tokens

__all__ = ["Listeners", "PassPlan", "ShardValues", "check_pass_plan", "run_shard"]

logger = logging.getLogger(__name__)

TokenSink = Callable[[Sequence[int], Batch, dict[Layer, Tensor]], None]
"""Takes (rows, batch, activations of each layer) when token activations are kept."""


@dataclass(frozen=True)
class PassPlan:
    """What is kept of each forward pass."""

    layers: tuple[Layer, ...]
    """Layers to pool."""
    poolings: tuple[Pooling, ...]
    """Poolings of each layer; ``none`` hands the tokens to the sink."""
    loss: bool = False
    """Also the loss of each text."""
    left_width: int | None = None
    """Pad on the left to this width without positions, as older tools did; None: on the right to the batch's longest."""
    dtype: torch.dtype = torch.float32
    """Type in which pooled vectors are kept."""
    workers: int = 2
    """Threads that encode the next batches."""


def _nobody(_n_rows: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Listeners:
    """Who is told while a shard runs."""

    tokens: TokenSink | None = None
    """Takes token activations, for pooling ``none``."""
    rows: Callable[[int], None] = _nobody
    """Told the number of rows of each batch when it is done."""


@dataclass
class ShardValues:
    """What one shard gave, rows in the order of the data."""

    tensors: dict[str, Tensor]
    """``pool/layer`` -> [n, d]; with losses also ``nats`` and ``n_scored`` [n]."""
    splits: list[dict[str, int]] = field(default_factory=list)
    """Batches that did not fit in memory and were halved: their first row and number of rows."""


def check_pass_plan(model: Model, plan: PassPlan) -> None:
    """Refuse what the model cannot give, before the first pass.

    Raises:
        UsageError: A class token or patches of a model without, or a loss of a model without a language-modelling head.
    """
    info = model.info
    if info.modality == "vision":
        if "cls" in plan.poolings and info.n_prefix_tokens == 0:
            raise UsageError(f"{info.name} has no class token, so it cannot be pooled by 'cls'", "use --pool avg")
    elif "patch-avg" in plan.poolings:
        raise UsageError(f"{info.name} reads text and has no patches for pooling 'patch-avg'", "use --pool avg")
    if plan.loss and not (info.causal and isinstance(model, Unembeds)):
        raise UsageError(f"{info.name} predicts no next token, so it has no loss", "leave --loss out")


def run_shard(
    model: Model,
    source: Source,
    rows: range,
    batches: Sequence[Sequence[int]],
    plan: PassPlan,
    listeners: Listeners | None = None,
) -> ShardValues:
    """Pool the activations of the rows of one shard.

    A batch that does not fit in memory is halved, as often as it takes; every row lands in its own place whatever
    happens.

    Args:
        model: The model.
        source: Its samples.
        rows: The shard's rows.
        batches: Positions within ``rows``, one list per batch; together each position once.
        plan: What to keep.
        listeners: Who else is told.

    Raises:
        ResourceError: One sample alone does not fit in memory.
        DataError: A pooled activation, or the loss of a text, is not finite.
    """
    check_pass_plan(model, plan)
    told = listeners or Listeners()
    values = ShardValues(_empty_tensors(model, plan, len(rows)))
    shard = _Shard(model, plan, rows, values, told.tokens)
    reduce = shard.pool if told.tokens is None else None
    with torch.inference_mode(), model.capture(plan.layers, reduce, early_exit=not plan.loss) as capture:
        shard.capture = capture
        for positions, encoded in _prefetched(source, rows, batches, plan.workers):
            shard.run(positions, encoded)
            told.rows(len(positions))
    _check_finite(model.info.name, rows, batches, values.tensors)
    return values


def _check_finite(name: str, rows: range, batches: Sequence[Sequence[int]], tensors: Mapping[str, Tensor]) -> None:
    """Refuse features that no metric could use, before they are stored.

    Raises:
        DataError: A layer, or the loss of a text, is NaN or infinite.
    """
    positions = torch.tensor([position for batch in batches for position in batch])
    for feature, values in tensors.items():
        finite = values.reshape(len(values), -1).isfinite().all(dim=1)[positions]
        if not finite.all():
            bad = positions[~finite]
            raise DataError(
                f"{feature} of {name} is not finite for {len(bad)} of {len(positions)} samples, as {rows[int(bad.min())]}",
                "its weights are broken, or it overflows its type: try --model.dtype=fp32",
            )


def _empty_tensors(model: Model, plan: PassPlan, n_rows: int) -> dict[str, Tensor]:
    """Places for every row, filled with NaN so that a row that was never written cannot pass for a number."""
    tensors = {
        feature_name(pooling, layer): torch.full((n_rows, model.info.widths[layer]), torch.nan, dtype=plan.dtype)
        for pooling in plan.poolings
        if pooling != "none"
        for layer in plan.layers
    }
    if plan.loss:
        tensors["nats"] = torch.full((n_rows,), torch.nan, dtype=torch.float64)
        tensors["n_scored"] = torch.zeros(n_rows, dtype=torch.int64)
    return tensors


def _prefetched(
    source: Source, rows: range, batches: Sequence[Sequence[int]], workers: int
) -> Iterator[tuple[Sequence[int], list[Encoded]]]:
    """Batches in order, each encoded in a thread while the ones before it are computed."""
    with ThreadPoolExecutor(workers, thread_name_prefix="encode") as pool:
        waiting: deque[tuple[Sequence[int], Future[list[Encoded]]]] = deque()
        remaining = iter(batches)
        for positions in itertools.islice(remaining, workers + 1):
            waiting.append((positions, pool.submit(source.load, [rows[position] for position in positions])))
        try:
            while waiting:
                positions, future = waiting.popleft()
                yield positions, future.result()
                for following in itertools.islice(remaining, 1):
                    waiting.append((following, pool.submit(source.load, [rows[position] for position in following])))
        finally:
            for _, future in waiting:
                future.cancel()


class _Shard:
    """The state of one shard's passes."""

    def __init__(self, model: Model, plan: PassPlan, rows: range, values: ShardValues, sink: TokenSink | None) -> None:
        self.model, self.plan, self.rows, self.values, self.sink = model, plan, rows, values, sink
        self.capture: Any = None
        self._pool_plan = PoolPlan()

    def pool(self, layer: Layer, hidden: Tensor) -> list[Tensor]:
        """All poolings but ``none`` of one layer's activations; runs in the hook, so that the tokens are freed at once."""
        if not hidden.is_floating_point():
            raise PluginError(
                f"layer {layer} of {self.model.info.name} is {hidden.dtype}, expected a floating-point type"
            )
        tokens = as_tokens(hidden, spatial=self.model.info.spatial)
        return [pool_tokens(tokens, pooling, self._pool_plan) for pooling in self.plan.poolings if pooling != "none"]

    def run(self, positions: Sequence[int], encoded: list[Encoded]) -> None:
        """One batch; halves it when memory does not suffice."""
        try:
            self._pass(positions, encoded)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as err:
            if not is_out_of_memory(err):
                raise
            self._note_split(positions, err)
        else:
            return
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        middle = len(positions) // 2
        self.run(positions[:middle], encoded[:middle])
        self.run(positions[middle:], encoded[middle:])

    def _note_split(self, positions: Sequence[int], err: BaseException) -> None:
        first = self.rows[positions[0]]
        self.capture.take()
        if len(positions) == 1:
            raise ResourceError(
                f"sample {first} alone does not fit in memory with {self.model.info.name}",
                "cut texts with --max-length, or try --quantize 4bit, --device-map auto or --device cpu",
            ) from err
        logger.warning("out of memory with %d samples; halving the batch", len(positions))
        self.values.splits.append({"first_row": first, "rows": len(positions)})

    def _pass(self, positions: Sequence[int], encoded: list[Encoded]) -> None:
        batch = self._collate(encoded)
        n_prefix = self.model.info.n_prefix_tokens
        device = getattr(self.model, "device", None)
        on_device = batch if device is None else batch.to(device)
        self._pool_plan = PoolPlan(on_device.mask, n_prefix)
        output = self.model.forward(on_device)
        kept = self.capture.take()
        missing = [layer for layer in self.plan.layers if layer not in kept]
        if missing:
            first = self.rows[positions[0]]
            raise PluginError(f"{self.model.info.name} gave no layer {missing[0]} for the batch of sample {first}")
        if self.plan.loss and output.last_hidden is not None and isinstance(self.model, Unembeds):
            nats, n_scored = text_nats(output.last_hidden, on_device, self.model.unembed)
            self.values.tensors["nats"][list(positions)] = nats.cpu()
            self.values.tensors["n_scored"][list(positions)] = n_scored.cpu()
        if self.sink is not None:
            self.sink([self.rows[position] for position in positions], batch, kept)
            kept = {layer: self.pool(layer, hidden) for layer, hidden in kept.items()}
        self._store(positions, kept)

    def _collate(self, encoded: list[Encoded]) -> Batch:
        if self.plan.left_width is None:
            return self.model.collate(encoded)
        return self.model.collate(encoded, padding="left", width=self.plan.left_width)  # pyright: ignore[reportCallIssue]

    def _store(self, positions: Sequence[int], kept: dict[Layer, list[Tensor]]) -> None:
        """Copy the batch to its rows: one transfer from the device, not one per layer."""
        poolings = [pooling for pooling in self.plan.poolings if pooling != "none"]
        names = [feature_name(pooling, layer) for layer in self.plan.layers for pooling in poolings]
        if not names:
            return
        pooled = [vector for layer in self.plan.layers for vector in kept[layer]]
        for name, vector in zip(names, pooled, strict=True):
            expected = (len(positions), self.values.tensors[name].shape[1])
            if vector.shape != expected:
                raise PluginError(
                    f"{name} of {self.model.info.name} has shape {tuple(vector.shape)}, expected {expected}"
                )
        together = torch.cat(pooled, dim=1).to("cpu", self.plan.dtype)
        where = list(positions)
        for name, part in zip(names, together.split([vector.shape[1] for vector in pooled], dim=1), strict=True):
            self.values.tensors[name][where] = part
