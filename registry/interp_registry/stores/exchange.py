"""Stored features for other tools, and theirs for ours: the layout of the Platonic code, npy, npz, parquet, zarr.

The Platonic code keeps one ``.pt`` file per model at ``<root>/<dataset>/<subset>/<model>_pool-<pool>[_prompt-True][_cid-<n>].pt``,
a dictionary with ``feats`` [n, layers, d], ``num_params`` and, for language models, ``mask``, ``loss``, ``bpb``. Slashes of a model's
name are underscores there, so the name cannot be told back with certainty.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from interp_registry.errors import DataError, MissingDependencyError, UnknownNameError
from interp_registry.stores.artifact import make_folder, replace
from interp_registry.stores.features import FeatureEntry, FeaturePlan, FeatureRequest, FeatureStore, feature_name
from interp_registry.stores.keys import slug

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = ["FORMATS", "export_entry", "import_platonic"]

_PLATONIC = re.compile(
    r"(?P<model>.+?)(_pool-(?P<pool>[a-z]+)|-(?P<old>cls))?(_prompt-(?P<prompt>True|False))?(_cid-(?P<cid>\d+))?",
    re.DOTALL,
)


def import_platonic(path: Path, store: FeatureStore, kind: str | None = None) -> FeatureEntry:
    """Bring one ``.pt`` file of the Platonic code into the store; nothing in it is executed.

    Args:
        path: The file; its two parent folders name the data set and the subset.
        store: Where to put it.
        kind: "language" or "vision"; language when the file has a loss or a mask, else vision.

    Returns:
        The stored features. Language models have layers 0..L, vision models blocks 1..L-1 and ``L.pre_norm``.

    Raises:
        DataError: The file holds no features of that form.
    """
    from interp_registry.stores.pt_files import read_pt

    content = read_pt(path)
    feats, totals = _platonic_features(content, path), _platonic_totals(content, path)
    match = _PLATONIC.fullmatch(path.stem)
    assert match is not None  # noqa: S101 - the first group takes any name
    pool = match["pool"] or match["old"] or "avg"
    is_language = kind == "language" if kind else bool({"mask", "loss"} & set(content))
    layers = _addresses(feats.shape[1], is_language)
    dataset = "/".join(path.absolute().parts[-3:-1])
    request = FeatureRequest(
        model=match["model"],
        dataset=dataset,
        fingerprint=hashlib.sha256(f"platonic-pt {dataset} {match['cid'] or 0}".encode()).hexdigest(),
        pools=(pool,),
        dtype=str(feats.dtype).removeprefix("torch."),
        options={"imported": "platonic-pt", "caption": int(match["cid"] or 0), "prompt": match["prompt"] == "True"},
    )
    plan = FeaturePlan(len(feats), len(feats), dict.fromkeys(layers, feats.shape[2]))
    entry = store.open(request, plan, {"source": path.name})
    if not entry.complete:
        tensors = {feature_name(pool, layer): feats[:, i].contiguous() for i, layer in enumerate(layers)}
        entry.write_shard(0, tensors, [str(i) for i in range(len(feats))])
        entry.finish(totals)
    return entry


def _platonic_features(content: Any, path: Path) -> "Tensor":
    feats = content.get("feats") if isinstance(content, Mapping) else None
    if feats is None or getattr(feats, "ndim", 0) != 3 or not feats.is_floating_point() or not feats.numel():
        raise DataError(f"{path} holds no `feats` [samples, layers, features]", "is it a file of the Platonic code?")
    return feats


def _platonic_totals(content: Mapping[str, Any], path: Path) -> dict[str, float]:
    totals: dict[str, float] = {}
    for theirs, ours in {"num_params": "n_params", "loss": "loss", "bpb": "bpb"}.items():
        try:
            if content.get(theirs) is not None:
                totals[ours] = float(content[theirs])
        except (TypeError, ValueError, RuntimeError, OverflowError) as err:
            raise DataError(f"{path}: {theirs} is no number: {err}") from err
        if not math.isfinite(totals.get(ours, 0.0)):
            raise DataError(f"{path}: {theirs} is {totals[ours]}", "features of a model that diverged, or of none")
    return totals


def _addresses(n_layers: int, is_language: bool) -> list[str]:
    if is_language:
        return [str(i) for i in range(n_layers)]
    return [*(str(i) for i in range(1, n_layers)), f"{n_layers}.pre_norm"]


def export_entry(entry: FeatureEntry, format: str, folder: Path, pool: str | None = None) -> list[Path]:  # noqa: A002
    """Write stored features for another tool.

    Args:
        entry: The features.
        format: One of :data:`FORMATS`.
        folder: Where to write; made if need be.
        pool: Which pooling; may be left out when there is one.

    Returns:
        The files written.

    Raises:
        UnknownNameError: No such format or pooling.
        DataError: The features are not complete, or the format cannot hold layers of different widths.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS, "--format")
    chosen = pool or entry.pools[0]
    layers = {layer: entry.read(layer, chosen if pool else None) for layer in entry.layers}
    return FORMATS[format](entry, chosen, layers, make_folder(folder))


def _arrays(layers: "Mapping[str, Tensor]") -> "dict[str, np.ndarray]":
    """Layers as float arrays; bfloat16, which NumPy lacks, becomes float32."""
    import torch

    return {name: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for name, t in layers.items()}


def _stacked(entry: FeatureEntry, layers: "Mapping[str, Tensor]", what: str) -> "Tensor":
    import torch

    widths = sorted({t.shape[1] for t in layers.values()})
    if len(widths) > 1:
        raise DataError(f"{entry.key} has layers of widths {widths}, which {what} cannot hold", "use --format npz")
    return torch.stack(list(layers.values()), dim=1)


def _write_platonic(entry: FeatureEntry, pool: str, layers: "Mapping[str, Tensor]", folder: Path) -> list[Path]:
    import torch

    totals = entry.totals or {}
    content: dict[str, Any] = {
        "feats": _stacked(entry, layers, "one array"),
        "num_params": int(totals.get("n_params", 0)),
    }
    content |= {name: torch.tensor(totals[name]) for name in ("loss", "bpb") if totals.get(name) is not None}
    caption = entry.request["options"].get("caption", 0)
    caption = caption[0] if isinstance(caption, list) and caption else caption
    suffix = f"_cid-{caption}" if caption else ""
    name = f"{entry.request['model'].replace('/', '_')}_pool-{pool}{suffix}"
    path = make_folder(folder / slug(entry.request["dataset"])) / f"{slug(name, 200)}.pt"
    replace(path, lambda file: torch.save(content, file))
    return [path]


def _write_npy(entry: FeatureEntry, pool: str, layers: "Mapping[str, Tensor]", folder: Path) -> list[Path]:
    import numpy as np

    array = _arrays({"all": _stacked(entry, layers, "one array")})["all"]
    path = folder / f"{entry.key}_{pool}.npy"
    replace(path, lambda file: np.save(file, array, allow_pickle=False))
    return [path]


def _write_npz(entry: FeatureEntry, pool: str, layers: "Mapping[str, Tensor]", folder: Path) -> list[Path]:
    import numpy as np

    arrays = {f"layer_{name}": array for name, array in _arrays(layers).items()}
    path = folder / f"{entry.key}_{pool}.npz"
    replace(path, lambda file: np.savez(file, allow_pickle=False, ids=np.array(entry.ids), **arrays))
    return [path]


def _write_parquet(entry: FeatureEntry, pool: str, layers: "Mapping[str, Tensor]", folder: Path) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"id": pa.array(entry.ids)}
    for name, array in _arrays(layers).items():
        columns[f"layer_{name}"] = pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
    path = folder / f"{entry.key}_{pool}.parquet"

    def write(file: BinaryIO) -> None:
        pq.write_table(pa.table(columns), file)

    replace(path, write)
    return [path]


def _write_zarr(entry: FeatureEntry, pool: str, layers: "Mapping[str, Tensor]", folder: Path) -> list[Path]:
    try:
        import zarr  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as err:
        raise MissingDependencyError("zarr is not installed", "pip install 'interp-cli[zarr]'") from err
    path = folder / f"{entry.key}_{pool}.zarr"
    group = zarr.open_group(path, mode="w")
    for name, array in _arrays(layers).items():
        group.create_array(f"layer_{name}", data=array)
    group.attrs["ids"] = entry.ids
    return [path]


_Writer = Callable[[FeatureEntry, str, "Mapping[str, Tensor]", Path], list[Path]]

FORMATS: Mapping[str, _Writer] = {
    "platonic-pt": _write_platonic,
    "npy": _write_npy,
    "npz": _write_npz,
    "parquet": _write_parquet,
    "zarr": _write_zarr,
}
"""Formats that features can be written in."""
