"""A trained lens on disk: ``lens.safetensors`` with its weights and ``lens.json`` with what made them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.lens.choices import LensConfig
from interp_plugins.methods.lens.contract import Lens
from interp_plugins.methods.lens.dumped import DumpOutline, Source, Statistics
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.config_io import decode, encode
from interp_registry.contracts.method import RunContext
from interp_registry.errors import CorruptError, UsageError
from interp_registry.stores.artifact import replace as replace_file
from interp_registry.stores.hashing import fast_digest
from interp_registry.stores.products import find_product
from interp_registry.stores.records import read_record, replace_record
from interp_registry.stores.shards import open_shard, write_shard

__all__ = ["StoredLens", "find_lens", "load_lens", "save_lens", "unembedding_digest"]

_FOLDER, _RECORD, _WEIGHTS = "lens", "lens.json", "lens.safetensors"


@dataclass(frozen=True)
class StoredLens:
    """A lens read back."""

    folder: Path
    """Where it lies."""
    lens: Lens
    """Ready to be used with its model."""
    method: str
    """Name of its method."""
    record: Mapping[str, Any]
    """What ``lens.json`` says: method, configuration, model, layers, digests."""
    outline: DumpOutline
    """Layers, width and statistics of the activations that it learned from."""


def unembedding_digest(model: CausalLanguageModel) -> str:
    """Digest of the output head's weights: a lens that reads out is of no use with another head."""
    weights = model.unembedding.detach().float().cpu().contiguous()
    return fast_digest(memoryview(weights.numpy()).cast("B"))  # pyright: ignore[reportArgumentType]


def save_lens(
    folder: Path, lens: Lens, config: LensConfig, model: CausalLanguageModel, source: Source, facts: Mapping[str, Any]
) -> list[Path]:
    """Write a lens.

    Args:
        folder: Where to; made if missing.
        lens: The lens.
        config: Its configuration.
        model: Its model.
        source: What it was built for; its statistics are kept, so that the lens can be built again without the dump.
        facts: Further entries of the record, e.g. the digest of the dump.

    Returns:
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moments = (
        source.moments if isinstance(source, DumpOutline) else {one: source.statistics(one) for one in source.layers}
    )
    tensors = {f"weights/{name}": value.detach().cpu().contiguous() for name, value in lens.weights().items()}
    for layer, one in moments.items():
        tensors |= {f"statistics/{layer}/mean": one.mean, f"statistics/{layer}/std": one.std}
    encoded: dict[str, Any] = encode(config, LensConfig)
    record = {
        "format": 1,
        "method": encoded["type"],
        "config": encoded,
        "model": model.info.name,
        "revision": model.info.revision,
        "unembedding": unembedding_digest(model),
        "layers": list(lens.layers),
        "source_layers": list(source.layers),
        "width": source.width,
        "statistics": {str(layer): {name: getattr(one, name) for name in _NUMBERS} for layer, one in moments.items()},
        "describe": dict(lens.describe()),
        **facts,
    }
    replace_file(folder / _WEIGHTS, lambda out: write_shard(out, tensors, {"kind": "lens"}))
    replace_record(folder / _RECORD, json.loads(json.dumps(record)))
    return [folder / _WEIGHTS, folder / _RECORD]


_NUMBERS = ("mean_norm", "max_abs", "variance", "normalised_variance")


def find_lens(name: str, ctx: RunContext | None = None) -> Path:
    """Folder of a lens: a run's id, its beginning or ending, "last", a run's folder, or the folder itself.

    Raises:
        UsageError: Nothing of that name, or several runs, hold a lens.
    """
    runs = None if ctx is None else ctx.run.path.parent
    return find_product(name, runs, f"{_FOLDER}/{_RECORD}", "lens", "interp lens train")


def load_lens(
    name: str | Path, model: CausalLanguageModel, ctx: RunContext | None = None, *, check_model: bool = True
) -> StoredLens:
    """Read a lens back.

    Args:
        name: A run's id or folder, or a lens folder.
        model: The model that it was trained on.
        ctx: Where to look for a run's id.
        check_model: Refuse a model of another revision.

    Raises:
        UsageError: There is none of that name, or it belongs to another model.
        CorruptError: A file is not what was written.
    """
    folder = find_lens(str(name), ctx)
    record: dict[str, Any] = read_record(folder / _RECORD)
    if check_model and record["revision"] != model.info.revision:
        raise UsageError(
            f"the lens {folder} was trained on {record['model']} (revision {record['revision']}), "
            f"not on {model.info.name} (revision {model.info.revision})",
            "give the same model",
        )
    shard = open_shard(folder / _WEIGHTS)
    shard.verify()
    tensors: dict[str, Tensor] = {part: shard.tensor(part).clone() for part in shard.parts}
    try:
        outline = _outline(record, tensors)
        config = decode(LensConfig, record["config"])
    except (KeyError, TypeError, ValueError) as err:
        raise CorruptError(f"{folder / _RECORD} is corrupt: {err}") from err
    lens: Lens = config.build(model, outline)
    lens.load_weights(
        {key.removeprefix("weights/"): value for key, value in tensors.items() if key.startswith("weights/")}
    )
    return StoredLens(folder, lens, str(record["method"]), record, outline)


def _outline(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> DumpOutline:
    moments: dict[int, Statistics] = {}
    for layer, numbers in record["statistics"].items():
        mean, std = tensors[f"statistics/{layer}/mean"], tensors[f"statistics/{layer}/std"]
        moments[int(layer)] = Statistics(mean.to(torch.float32), std.to(torch.float32), **numbers)
    return DumpOutline(tuple(record["source_layers"]), int(record["width"]), moments)
