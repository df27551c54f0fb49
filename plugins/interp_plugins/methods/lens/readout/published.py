"""Tuned lenses of the tuned-lens package, read and written: a folder with ``config.json`` and ``params.pt``.

``config.json`` names the model, its width and number of blocks; ``params.pt`` is a state dict of ``{i}.weight`` [d, d] and
``{i}.bias`` [d], one per block: translator i maps ``hidden_states[i]`` and holds the matrix without the identity, as this tool's do.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp_plugins.methods.lens.config import ExportConfig, ImportConfig
from interp_plugins.methods.lens.dumped import DumpOutline
from interp_plugins.methods.lens.loading import load_frozen
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.readout.config import TunedExportConfig, TunedImportConfig, TunedLensConfig
from interp_plugins.methods.lens.readout.tuned import TunedLens
from interp_plugins.methods.lens.stored import find_lens, load_lens, save_lens
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.contracts.method import Result, RunContext
from interp_registry.errors import DataError, UsageError
from interp_registry.stores.artifact import replace as replace_file
from interp_registry.stores.pt_files import read_pt
from interp_registry.stores.records import read_record

__all__ = ["export_tuned", "import_tuned", "unembed_hash"]

_KIND = "linear_tuned_lens"


def unembed_hash(model: CausalLanguageModel) -> str:
    """The package's digest of an output head: sha256 of how NumPy prints its weights with one digit.

    It looks at the corners of the matrix only and changes with NumPy's way of printing, so a mismatch is a warning, never an error.
    """
    weights = model.unembedding.detach().float().cpu().numpy()
    with np.printoptions(threshold=1000, edgeitems=3, linewidth=75, suppress=False):
        return hashlib.sha256(np.array_str(weights, precision=1).encode()).hexdigest()


def import_tuned(_choice: TunedImportConfig, config: ImportConfig, ctx: RunContext) -> Result:
    """Read a folder of the package and store it as a lens of this run.

    Raises:
        DataError: The folder is not such a lens, or does not fit the model.
        UsageError: No model is named.
    """
    facts, weights = _read(config.path)
    name = config.model or str(facts.get("base_model_name_or_path") or "")
    if not name:
        raise UsageError(f"{config.path} names no model", "say which with --model")
    model = load_frozen(name, config.loading, config.kind, ctx.device)
    parts = Parts(model)
    _check(config.path, facts, weights, parts)
    if facts.get("unembed_hash") not in (None, unembed_hash(model)):
        ctx.events.message(
            f"the lens was trained on another unembedding than that of {name}, or with another NumPy: its predictions may be wrong",
            "warning",
        )
    lens_config = TunedLensConfig(bias_only=False)
    source = DumpOutline(tuple(range(parts.n_layers + 1)), parts.width)
    lens = TunedLens(lens_config, model, source)
    lens.load_weights({key: value.to(torch.float32) for key, value in weights.items()})
    folder = ctx.run.artifact("lens/lens.json").parent
    save_lens(folder, lens, lens_config, model, source, {"imported": "tuned-lens", "published": facts})
    scalars = {"method": "tuned", "model": name, "translators": parts.n_layers}
    return Result(scalars=scalars, artifacts=[folder])


def export_tuned(_choice: TunedExportConfig, config: ExportConfig, ctx: RunContext) -> Result:
    """Write a tuned lens as a folder that the package reads.

    Raises:
        UsageError: It is another kind of lens, or has no translator for some layer: the package wants one for each block.
    """
    record: dict[str, Any] = read_record(find_lens(config.lens, ctx) / "lens.json")
    model = load_frozen(config.model or str(record["model"]), config.loading, config.kind, ctx.device)
    stored = load_lens(config.lens, model, ctx)
    lens, parts = stored.lens, Parts(model)
    if not isinstance(lens, TunedLens):
        raise UsageError(f"{config.lens!r} is a {stored.method} lens", "only tuned lenses have this format")
    if lens.translated != tuple(range(parts.n_layers)):
        has = ", ".join(map(str, lens.translated))
        raise UsageError(f"the lens has maps for layers {has}", f"train it with layers 0 to {parts.n_layers}")
    facts = {
        "base_model_name_or_path": model.info.name,
        "d_model": parts.width,
        "num_hidden_layers": parts.n_layers,
        "bias": True,
        "base_model_revision": None,
        "unembed_hash": unembed_hash(model),
        "lens_type": _KIND,
    }
    folder = config.to or ctx.run.artifact("tuned-lens/config.json").parent
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.cpu().clone() for name, value in lens.weights().items()}
    replace_file(folder / "config.json", lambda out: out.write((json.dumps(facts, indent=2) + "\n").encode()))
    replace_file(folder / "params.pt", lambda out: torch.save(weights, out))
    return Result(scalars={"translators": parts.n_layers}, artifacts=[folder])


def _read(folder: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    for name in ("config.json", "params.pt"):
        if not (folder / name).is_file():
            raise DataError(f"{folder} has no {name}", "a tuned lens is a folder with config.json and params.pt")
    try:
        facts: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as err:
        raise DataError(f"{folder / 'config.json'} is no JSON: {err}") from err
    weights: Any = read_pt(folder / "params.pt")
    if not isinstance(facts, dict) or not isinstance(weights, dict):
        raise DataError(f"{folder} is no tuned lens: its files hold no dictionaries")
    if not all(isinstance(value, Tensor) for value in weights.values()):  # pyright: ignore[reportUnknownVariableType]
        raise DataError(f"{folder / 'params.pt'} holds other things than tensors")
    return facts, weights  # pyright: ignore[reportUnknownVariableType]


def _check(folder: Path, facts: Mapping[str, Any], weights: Mapping[str, Tensor], parts: Parts) -> None:
    """The file's own words, its tensors and the model must agree.

    Raises:
        DataError: They do not.
    """
    expected = {"lens_type": _KIND, "d_model": parts.width, "num_hidden_layers": parts.n_layers}
    for name, value in expected.items():
        if facts.get(name, value) != value:
            raise DataError(f"{folder}: {name} is {facts[name]!r}, {parts.model.info.name} needs {value!r}")
    biases = facts.get("bias", True)
    if not biases:
        raise DataError(f"{folder} has translators without bias", "only translators with a bias are read")
    d = parts.width
    shapes = {f"{i}.weight": (d, d) for i in range(parts.n_layers)} | {f"{i}.bias": (d,) for i in range(parts.n_layers)}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != shapes:
        odd = sorted(name for name in {*shapes, *found} if shapes.get(name) != found.get(name))
        raise DataError(f"{folder / 'params.pt'}: {', '.join(odd[:4])} missing, unknown or of another shape")
