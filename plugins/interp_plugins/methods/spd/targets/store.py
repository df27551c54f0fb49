"""Stored targets: trained once per recipe, hashed, reused; loaded from folders of our own or of the published layout.

A stored target is ``<key>/target.safetensors`` (weights under their published names, sealed) and ``target.json`` (recipe,
seed, which seeds passed). The key is a hash of everything that enters the training.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.spd.config import TargetConfig
from interp_plugins.methods.spd.sites import Target
from interp_plugins.methods.spd.targets.published import find_published
from interp_plugins.methods.spd.targets.recipes import Recipe
from interp_registry.config_io import encode
from interp_registry.events import EventSink, NullSink
from interp_registry.stores.artifact import commit, make_folder
from interp_registry.stores.keys import key_of
from interp_registry.stores.records import commit_record, read_record
from interp_registry.stores.shards import open_shard, write_shard
from interp_registry.training.config import TrainingConfig
from interp_registry.training.loop import Tools, train

__all__ = ["LoadedTarget", "obtain_target", "read_weights", "target_key"]

_WEIGHTS, _RECORD = "target.safetensors", "target.json"
_VERSION = 1


@dataclass(frozen=True)
class LoadedTarget:
    """A toy target, and where it came from.

    Attributes:
        target: The model.
        weights: Its weights under their published names.
        folder: Where they lie.
        record: What is known of their training.
        trained: Whether this call trained it.
    """

    target: Target
    weights: dict[str, Tensor]
    folder: Path
    record: dict[str, Any]
    trained: bool = False


def target_key(config: TargetConfig, seed: int) -> str:
    """Return the name of the folder of a target: its kind and a hash of recipe and seed."""
    request: dict[str, Any] = {"version": _VERSION, "seed": seed, "recipe": encode(config, TargetConfig)}
    return key_of(f"{request['recipe']['type']}-{seed}", request)


def obtain_target(
    config: TargetConfig,
    seed: int,
    cache: Path,
    events: EventSink | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> LoadedTarget:
    """Load a target, training it first if it is not stored.

    Args:
        config: The recipe, or where to load from.
        seed: Seed of the training.
        cache: Folder of stored targets and downloads.
        events: Where the progress of a training goes.
        stop: Whether to stop at the next safe point.

    Raises:
        InterpError: No seed passes, or the given path holds no target.
    """
    recipe: Recipe = config.build()
    if config.path is not None:
        folder, weights = find_published(config.path, cache)
        return LoadedTarget(recipe.target(weights), weights, folder, {"path": config.path})
    folder = cache / "spd" / "targets" / target_key(config, seed)
    if (folder / _RECORD).exists():
        weights = read_weights(folder / _WEIGHTS)
        return LoadedTarget(recipe.target(weights), weights, folder, read_record(folder / _RECORD))
    threads = torch.get_num_threads()
    recipe.start(seed)
    settings = TrainingConfig(steps=recipe.n_steps, schedule=recipe.schedule, log_every=max(1, recipe.n_steps // 20))
    train(recipe, settings, seed, Tools(events=events or NullSink(), stop=stop))  # type: ignore[arg-type]
    weights, found = recipe.finish()
    record = {"version": _VERSION, "recipe": encode(config, TargetConfig), "threads": threads, **found}
    make_folder(folder)
    commit(folder / _WEIGHTS, lambda file: write_shard(file, weights, {"kind": "spd target"}))
    commit_record(folder / _RECORD, record)
    return LoadedTarget(recipe.target(weights), weights, folder, record, trained=True)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a sealed file, its data checked.

    Raises:
        CorruptError: The file is not what was written.
    """
    shard = open_shard(path)
    shard.verify()
    return {name: shard.tensor(name).clone() for name in shard.parts}


def describe(record: dict[str, Any]) -> str:
    """Return one line about a target's training."""
    if "passing" in record:
        return f"seed {record['taken']} of {len(record['preserved_features'])} taken; passing: {record['passing']}"
    return json.dumps({k: v for k, v in record.items() if k in ("final_loss", "path", "seed")})
