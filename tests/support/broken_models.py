"""Copies of embedded models with other weights."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from interp_plugins.embedded import zoo

Weights = dict[str, Tensor]


def changed_copy(folder: Path, source: str, change: Callable[[Weights], object]) -> Path:
    """A model of the zoo in a new folder, its weights (in float32) changed in place by a function."""
    folder.mkdir(parents=True)
    for path in (Path(zoo.__file__).parent / "weights" / source).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder
