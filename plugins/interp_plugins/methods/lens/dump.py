"""The stage ``lens dump``: one forward pass per text, the chosen tokens of the chosen layers into the activation store."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp_plugins.datasets.resolve import select_dataset
from interp_plugins.methods.extract.planning import BatchPlan, batches_of
from interp_plugins.methods.extract.shard_writer import own_shards, provenance_of
from interp_plugins.methods.extract.sources import text_source
from interp_plugins.methods.lens.config import DumpConfig, DumpSettings
from interp_plugins.methods.lens.dumped import Dump, dump_plan
from interp_plugins.methods.lens.loading import resolve_language_model
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.positions import Positions
from interp_plugins.models.hardware import choose_device, choose_dtype
from interp_plugins.models.language import CausalLanguageModel
from interp_plugins.models.resolve import ResolvedModel
from interp_registry.contracts.data import Dataset
from interp_registry.contracts.method import Result, RunContext
from interp_registry.contracts.model import Encoded
from interp_registry.errors import ConfigError, DataError
from interp_registry.figures import Table
from interp_registry.stores.activations import ActivationEntry, vector_name
from interp_registry.stores.background import BackgroundWriter
from interp_registry.stores.features import FeatureRequest
from interp_registry.tensors.layers import Layer, select_layers

__all__ = ["Dumper", "choose_layers", "dump_request", "open_dump", "run"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_FP16_LIMIT = 6e4


def run(config: DumpConfig, ctx: RunContext) -> Result:
    """Dump activations; what is stored already is not computed again.

    Raises:
        InterpError: The model or data cannot be had, or the activations do not fit in the type they are to be stored in.
    """
    dump, state = open_dump(config, config.model, ctx)
    scalars = {
        "key": dump.entry.key,
        "state": state,
        "rows": dump.n_rows,
        "training_rows": len(dump.training_rows),
        "validation_rows": len(dump.validation_rows),
    }
    found = {layer: dump.statistics(layer) for layer in dump.layers}
    table = Table.of_records(
        [
            {
                "layer": layer,
                "mean norm": one.mean_norm,
                "largest coordinate": one.max_abs,
                "variance": one.variance,
                "normalised variance": one.normalised_variance,
            }
            for layer, one in found.items()
        ],
        title="Activations of the training rows",
    )
    return Result(scalars=scalars, tables=[table], artifacts=[dump.entry.path])


def choose_layers(choice: str, n_layers: int) -> tuple[int, ...]:
    """Layers as indices of ``hidden_states``: ``all`` is 0 to L.

    Raises:
        UsageError: There is no such layer.
    """
    known = [Layer(number) for number in range(n_layers + 1)]
    return tuple(layer.index for layer in select_layers(choice, known, known))


def dump_request(model: ResolvedModel, dataset: Dataset, settings: DumpSettings, seed: int) -> FeatureRequest:
    """What was asked for: decides the key."""
    device = choose_device(getattr(model.config, "device", "auto"))
    options: dict[str, Any] = {
        "lens": 1,
        "positions": settings.positions,
        "seq_len": settings.seq_len,
        "caption": list(settings.caption),
        "seed": seed if Positions.parse(settings.positions).kind == "random" else None,
        "compute": str(choose_dtype(settings.loading.dtype, device)).removeprefix("torch."),
        "tokenizer": settings.loading.tokenizer,
        "quantize": settings.loading.quantize,
        "trust_remote_code": settings.loading.trust_remote_code or None,
    }
    return FeatureRequest(
        model=model.name,
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        pools=("none",),
        layers=settings.layers,
        dtype=str(_DTYPES[settings.dtype]).removeprefix("torch."),
        revision=model.revision,
        prompt=settings.prompt,
        options={name: value for name, value in options.items() if value is not None},
    )


def open_dump(
    settings: DumpSettings, model_name: str, ctx: RunContext, loaded: CausalLanguageModel | None = None
) -> tuple[Dump, str]:
    """The dump of a model on a data set, made first where it is not stored.

    Args:
        settings: What is dumped.
        model_name: The model, as the user wrote it.
        ctx: Stores, seed, device.
        loaded: The model, when it is in memory already.

    Returns:
        The dump, and whether it was ``present`` or is now ``dumped``. Of several processes each writes its own shards and waits for
        the others.
    """
    for name in ("seq_len", "batch_tokens", "shard_mb"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{getattr(settings, name)} is too few", name, "at least 1")
    positions = Positions.parse(settings.positions)
    resolved = resolve_language_model(model_name, settings.loading, settings.kind, ctx.device)
    dataset = select_dataset(settings.dataset, settings.limit)
    request = dump_request(resolved, dataset, settings, ctx.seed)
    entry = ctx.activations.find(request)
    if entry is not None and entry.complete:
        _wait_for_others(ctx)  # also those that have it: a barrier of some only would stall the others
        return Dump(entry), "present"
    parts = Parts(loaded if loaded is not None else resolved.load())
    dumper = Dumper(parts, dataset, settings, positions, ctx.seed)
    entry = ctx.activations.open(request, dumper.plan(), provenance_of(parts.model))
    dumper.write(entry, ctx)
    _wait_for_others(ctx)
    return Dump(entry), "dumped"


def _wait_for_others(ctx: RunContext) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        ctx.accelerator.wait_for_everyone()


@dataclass(frozen=True)
class _Place:
    """One document: its number, its tokens, and which of them are dumped."""

    document: int
    encoded: Encoded
    positions: list[int]


class Dumper:
    """Dumps the activations of a data set, shard by shard; every shard is a function of settings and data only.

    Args:
        parts: The model.
        dataset: Texts.
        settings: What is dumped.
        positions: Which tokens.
        seed: Seed of random positions.

    Raises:
        DataError: No text is long enough to have a token that is asked for.
    """

    def __init__(self, parts: Parts, dataset: Dataset, settings: DumpSettings, positions: Positions, seed: int) -> None:
        self.parts, self.settings = parts, settings
        self.layers = choose_layers(settings.layers, parts.n_layers)
        self.dtype = _DTYPES[settings.dtype]
        source = text_source(parts.model, dataset, settings.caption, settings.prompt)
        self.places: list[_Place] = []
        for document, encoded in enumerate(source.items):
            ids = list(encoded.inputs["input_ids"])[: settings.seq_len]
            chosen = positions.of(len(ids), seed, document)
            if chosen:
                self.places.append(_Place(document, Encoded({"input_ids": ids}, len(ids)), chosen))
        if not self.places:
            raise DataError(
                f"no text of {dataset.name} has a token at {settings.positions!r}", "choose other positions"
            )
        self.width = max(place.encoded.length for place in self.places)

    def plan(self) -> Any:
        """What a row consists of, and how documents are cut into shards."""
        addresses = [self.parts.address(layer) for layer in self.layers]
        widths = {address: self.parts.model.info.widths[address] for address in addresses}
        source = {"documents_per_shard": self._shard_documents(), "batch_tokens": self.settings.batch_tokens}
        return dump_plan(widths, self.width, source)

    def _shard_documents(self) -> int:
        row_bytes = self.parts.width * len(self.layers) * self.dtype.itemsize + 4 * self.width
        rows = sum(len(place.positions) for place in self.places) / len(self.places)
        return max(1, int((self.settings.shard_mb << 20) / (row_bytes * rows)))

    def write(self, entry: ActivationEntry, ctx: RunContext) -> None:
        """Compute and store the shards of this process that are missing; the last process declares the whole complete."""
        size: int = entry.plan["source"]["documents_per_shard"]
        shards = [self.places[first : first + size] for first in range(0, len(self.places), size)]
        present = set(entry.present_shards())
        with BackgroundWriter(pending=1) as writer:  # so that a kill costs one computed shard at most
            for index in own_shards([index for index in range(len(shards)) if index not in present]):
                writer.submit(entry.write_shard, index, self._shard(shards[index]))
                ctx.events.progress("dump", index + 1, len(shards), "shards")
        if len(entry.present_shards()) == len(shards):
            entry.finish(len(shards), {"n_documents": len(self.places)})

    def _shard(self, places: Sequence[_Place]) -> dict[str, Tensor]:
        """All columns of the rows of these documents."""
        n_rows = sum(len(place.positions) for place in places)
        names = {self.parts.address(layer): vector_name(self.parts.address(layer)) for layer in self.layers}
        tensors = {name: torch.empty(n_rows, self.parts.width, dtype=self.dtype) for name in names.values()}
        first = [0, *itertools.accumulate(len(place.positions) for place in places)]
        plan = BatchPlan(self.settings.batch_tokens)
        for batch in batches_of([place.encoded.length for place in places], plan):
            rows = torch.cat([torch.arange(first[one], first[one + 1]) for one in batch])
            for layer, values in self._forward([places[one] for one in batch]).items():
                tensors[names[layer]][rows] = self._stored(values, layer)
        return tensors | self._texts(places)

    @torch.inference_mode()
    def _forward(self, places: Sequence[_Place]) -> dict[Layer, Tensor]:
        """Activations at the chosen tokens of a batch: one pass, which ends at the last layer that is asked for."""
        model = self.parts.model
        batch = model.collate([place.encoded for place in places])
        texts = torch.cat([torch.full((len(place.positions),), row) for row, place in enumerate(places)])
        tokens = torch.tensor([position for place in places for position in place.positions])
        texts, tokens = texts.to(model.device), tokens.to(model.device)

        def chosen(_layer: Layer, hidden: Tensor) -> Tensor:
            return hidden[texts.to(hidden.device), tokens.to(hidden.device)]

        addresses = [self.parts.address(layer) for layer in self.layers]
        with model.capture(addresses, chosen, early_exit=True) as capture:
            model.forward(batch)
        return capture.take()

    def _stored(self, values: Tensor, layer: Layer) -> Tensor:
        """The activations in the type they are stored in.

        Raises:
            DataError: float16 cannot hold them, or they are not numbers.
        """
        largest = float(values.abs().max())
        if self.dtype == torch.float16 and largest > _FP16_LIMIT:
            raise DataError(
                f"layer {layer} of {self.parts.model.info.name} has a coordinate of {largest:.3g}, which float16 cannot hold",
                "dump with --dtype bf16",
            )
        if not torch.isfinite(values).all():
            raise DataError(f"layer {layer} of {self.parts.model.info.name} has activations that are not finite")
        return values.to("cpu", self.dtype)

    def _texts(self, places: Sequence[_Place]) -> dict[str, Tensor]:
        """Tokens, length, position and document of every row."""
        ids = torch.zeros(len(places), self.width, dtype=torch.int32)
        for row, place in enumerate(places):
            ids[row, : place.encoded.length] = torch.as_tensor(place.encoded.inputs["input_ids"], dtype=torch.int32)
        counts = torch.tensor([len(place.positions) for place in places])
        lengths = torch.tensor([place.encoded.length for place in places], dtype=torch.int32)
        documents = torch.tensor([place.document for place in places])
        return {
            "token_ids": ids.repeat_interleave(counts, 0),
            "length": lengths.repeat_interleave(counts),
            "position": torch.tensor([p for place in places for p in place.positions], dtype=torch.int32),
            "doc_id": documents.repeat_interleave(counts),
        }
