"""Targets in the published layout: a folder with ``<task>.pth`` (or ``.safetensors``) and its training configuration.

``wandb:entity/project/runs/id`` is looked up in the cache first (``runs/<project>-<id>``), then fetched with the ``wandb``
package, whose credentials come from the environment or a ``.env`` file and are never stored.
"""

import os
import re
from pathlib import Path

from torch import Tensor

from interp_registry.errors import DataError, MissingDependencyError, OfflineError, UsageError
from interp_registry.stores.pt_files import read_pt

__all__ = ["find_published"]

_WANDB = re.compile(r"wandb:(?P<entity>[\w.-]+)/(?P<project>[\w.-]+)/(?:runs/)?(?P<run>[\w-]+)")
_NAMES = ("target.safetensors", "tms.safetensors", "tms.pth", "resid_mlp.safetensors", "resid_mlp.pth")


def find_published(path: str, cache: Path) -> tuple[Path, dict[str, Tensor]]:
    """Return the folder and the weights of a target.

    Args:
        path: A file, a folder, or ``wandb:entity/project/runs/id``.
        cache: Folder for downloads.

    Raises:
        UsageError: Nothing that can be read is there.
        DataError: It is no state dict, or its weights are not finite.
        MissingDependencyError: It has to be fetched and the wandb package, credentials or network are not here.
    """
    folder = _downloaded(path, cache) if path.startswith("wandb:") else Path(path).expanduser()
    file = folder if folder.is_file() else next((folder / n for n in _NAMES if (folder / n).is_file()), None)
    if file is None:
        raise UsageError(f"{path!r} holds no target", f"expected a file, or a folder with one of {', '.join(_NAMES)}")
    return file.parent, _read(file)


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        weights = load_file(file)
    else:
        weights = read_pt(file)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise DataError(f"{file} holds no state dict of tensors", "give the checkpoint of a TMS or residual MLP model")
    broken = [name for name, value in weights.items() if not value.isfinite().all()]
    if broken:
        raise DataError(f"{file} has weights that are not finite: {', '.join(broken[:4])}", "train that target anew")
    return weights


def _downloaded(path: str, cache: Path) -> Path:
    match = _WANDB.fullmatch(path)
    if match is None:
        raise UsageError(f"{path!r} is no run of Weights & Biases", "write wandb:entity/project/runs/id")
    folder = cache / "runs" / f"{match['project']}-{match['run']}"
    if folder.is_dir() and any(folder.iterdir()):
        return folder
    if os.environ.get("WANDB_MODE") == "offline" or os.environ.get("HF_HUB_OFFLINE") == "1":
        raise OfflineError(f"{path} is not in the cache and the network is off", f"put its files into {folder}")
    try:
        import wandb  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as err:
        raise MissingDependencyError(
            f"{path} has to be fetched, and the package wandb is not installed",
            f"pip install 'interp-cli[wandb]', or put the run's files into {folder}",
        ) from err
    _read_env_file()
    run = wandb.Api().run(f"{match['entity']}/{match['project']}/{match['run']}")
    folder.mkdir(parents=True, exist_ok=True)
    for file in run.files():
        if Path(file.name).suffix in (".pth", ".yaml", ".json", ".safetensors") and Path(file.name).name == file.name:
            file.download(root=str(folder), exist_ok=True)
    return folder


def _read_env_file() -> None:
    """Take WANDB_* from ``.env`` in the current folder, unless the environment has them."""
    file = Path(".env")
    if not file.is_file():
        return
    for line in file.read_text().splitlines():
        name, found, value = line.partition("=")
        if found and name.strip().startswith("WANDB_"):
            os.environ.setdefault(name.strip(), value.strip().strip("'\""))
