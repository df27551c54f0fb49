"""The zoo's manifest: what every file is, how it was made, and what was measured of it."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from interp_plugins.embedded.world import WORLD_VERSION
from interp_plugins.embedded.zoo.recipes import Recipe
from interp_registry.errors import CorruptError
from interp_registry.stores.artifact import replace_text

__all__ = ["MANIFEST", "check_files", "model_entry", "read_manifest", "record_metrics", "write_manifest"]

MANIFEST = "manifest.json"
_LIBRARIES = ("numpy", "safetensors", "timm", "tokenizers", "torch", "transformers")


def model_entry(recipe: Recipe, folder: Path, metrics: Mapping[str, Any], cpu_seconds: float) -> dict[str, Any]:
    """What the manifest says of one model: recipe, files with their sha256, versions, measurements."""
    return {
        "recipe": asdict(recipe),
        "recipe_hash": recipe.digest(),
        "seed": recipe.seed,
        "world_version": WORLD_VERSION,
        "files": {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.is_file()},
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "cpu_seconds": round(cpu_seconds),
        "metrics": dict(metrics),
    }


def read_manifest(weights: Path) -> dict[str, dict[str, Any]]:
    """Entries by model name; empty when nothing was built there.

    Raises:
        CorruptError: the file is no JSON object.
    """
    path = weights / MANIFEST
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))["models"]
    except (ValueError, KeyError, TypeError) as err:
        raise CorruptError(f"{path} is no manifest of the zoo: {err}", "build the zoo again") from err


def write_manifest(weights: Path, entries: Mapping[str, Mapping[str, Any]]) -> Path:
    """Add or replace entries; the others stay."""
    models = {**read_manifest(weights), **entries}
    content = {"world_version": WORLD_VERSION, "models": {name: models[name] for name in sorted(models)}}
    path = weights / MANIFEST
    replace_text(path, json.dumps(content, indent=1) + "\n")
    return path


def record_metrics(weights: Path, metrics: Mapping[str, Mapping[str, Any]]) -> Path:
    """Add measurements to the entries of models; what was noted of their training stays."""
    entries = read_manifest(weights)
    changed = {
        name: {**entries[name], "metrics": {**entries[name]["metrics"], **found}} for name, found in metrics.items()
    }
    return write_manifest(weights, changed)


def check_files(weights: Path) -> None:
    """Compare every file with the manifest.

    Raises:
        CorruptError: a file is missing or differs; the message names it.
    """
    for name, entry in read_manifest(weights).items():
        for file, expected in entry["files"].items():
            path = weights / name / file
            if not path.is_file():
                raise CorruptError(f"{path} is missing", "install the package again, or build the zoo")
            if _sha256(path) != expected:
                raise CorruptError(f"{path} is not the file that the manifest lists", "install the package again")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
