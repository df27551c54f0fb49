"""Reading features from files: npy, npz, safetensors, pt (tensors only), parquet."""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np
from torch import Tensor

from interp_plugins.methods.align.inputs import as_layers
from interp_registry.errors import DataError, UsageError, near_names
from interp_registry.stores.pt_files import read_pt

__all__ = ["SUFFIXES", "LoadedFeatures", "load_features", "means_file"]

_SINGLE_ARRAY = ("feats", "features", "embeddings")
_ID_COLUMNS = ("id", "ids", "sample_id", "__index_level_0__")
_RAISED = (OSError, ValueError, KeyError, RuntimeError, EOFError, MemoryError, BadZipFile, TokenError, zlib.error)
"""What reading a file that is torn or lies raises, in numpy, torch, safetensors and pyarrow."""


@dataclass
class LoadedFeatures:
    """Features of one model, layer by layer.

    Attributes:
        name: What to call the model.
        features: One float tensor ``[n, d]`` per layer.
        layers: The layers' addresses, in the same order.
        ids: Names of the samples, if known.
        facts: What else is known of the model: loss (nats per token), bpb (bits per byte), n_params.
        addressed: Whether ``layers`` are addresses (0 is the embedding) and not mere positions in a file.
    """

    name: str
    features: list[Tensor]
    layers: list[str]
    ids: list[str] | None = None
    facts: dict[str, float] = field(default_factory=dict)
    addressed: bool = False

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.features[0].shape[0]

    def __len__(self) -> int:
        """Number of layers."""
        return len(self.features)


def means_file(word: str) -> bool:
    """Whether a word means a file and not a model: it is one, or its suffix is (or resembles) one that can be read."""
    suffix = Path(word).suffix.lower()
    return suffix in SUFFIXES or Path(word).is_file() or bool(len(suffix) > 3 and near_names(suffix, SUFFIXES))


def load_features(path: str | Path, name: str | None = None) -> LoadedFeatures:
    """Read a model's features from a file.

    A three-axis array is ``[n, layers, d]``; two-axis arrays are one layer ``[n, d]`` each, in natural order of their names
    (``layer.2`` before ``layer.10``). ``.pt`` files may hold tensors, lists and dicts of them, nothing else; the published layout
    (``{"feats": [n, layers, d], "loss": ..., "bpb": ..., "num_params": ...}``) is understood. In parquet files every column of
    lists is a layer; numeric columns together are one layer; a column ``id`` names the samples.

    Args:
        path: The file.
        name: What to call the model; the file's stem by default.

    Raises:
        UsageError: There is no such file, or its suffix is unknown.
        DataError: The file does not hold features.
    """
    file = Path(path)
    reader = SUFFIXES.get(file.suffix.lower())
    if reader is None:
        near = near_names(file.suffix, SUFFIXES)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"{str(file)!r} has the suffix {file.suffix!r}", f"{hint}readable are {', '.join(SUFFIXES)}")
    if not file.is_file():
        near = near_names(file.name, [p.name for p in file.parent.iterdir()]) if file.parent.is_dir() else []
        raise UsageError(f"there is no file {str(file)!r}", f"did you mean {near[0]}?" if near else "check the path")
    try:
        content, ids = reader(file)
    except _RAISED as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise DataError(f"{file} is no readable {file.suffix} file: {reason}", "write it again, or convert it") from err
    return _loaded(content, ids, name or file.stem)


def _loaded(content: Any, ids: list[str] | None, name: str) -> LoadedFeatures:
    facts: dict[str, float] = {}
    if isinstance(content, Mapping):
        facts = _facts(content)
        single = next((key for key in _SINGLE_ARRAY if key in content), None)
        if single is not None:
            content = content[single]
        else:
            named = {str(key): v for key, v in content.items() if getattr(v, "ndim", 0) in (2, 3) and key != "mask"}
            return _named(named, ids, name, facts)
    layers = as_layers(content, name)
    return LoadedFeatures(name, layers, [str(index) for index in range(len(layers))], ids, facts)


def _named(arrays: Mapping[str, Any], ids: list[str] | None, name: str, facts: dict[str, float]) -> LoadedFeatures:
    if not arrays:
        raise DataError(f"{name} holds no array with two or three axes", "expected [n, d] per layer or [n, layers, d]")
    if len(arrays) == 1:
        key, only = next(iter(arrays.items()))
        layers = as_layers(only, name)
        addresses = [key] if len(layers) == 1 else [str(index) for index in range(len(layers))]
        return LoadedFeatures(name, layers, addresses, ids, facts)
    keys = sorted(arrays, key=_natural)
    return LoadedFeatures(name, as_layers([arrays[key] for key in keys], name), keys, ids, facts)


def _facts(content: Mapping[str, Any]) -> dict[str, float]:
    known = {"loss": "loss", "bpb": "bpb", "num_params": "n_params", "n_params": "n_params"}
    values = {ours: content[key] for key, ours in known.items() if key in content and np.ndim(content[key]) == 0}
    try:
        return {name: float(value) for name, value in values.items()}
    except (TypeError, ValueError, OverflowError) as err:
        raise DataError(f"one of {', '.join(values)} is no number: {err}") from err


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key in which numbers count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _read_npy(path: Path) -> tuple[Any, None]:
    return np.load(path, allow_pickle=False), None


def _read_npz(path: Path) -> tuple[Any, list[str] | None]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        content = {key: archive[key] for key in archive.files}
    ids = next(([str(v) for v in content.pop(key)] for key in _ID_COLUMNS if key in content), None)
    return content, ids


def _read_safetensors(path: Path) -> tuple[Any, None]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path), None
    except SafetensorError as err:
        raise ValueError(err) from err


def _read_pt(path: Path) -> tuple[Any, None]:
    content = read_pt(path)
    if isinstance(content, list | tuple) and not all(isinstance(item, Tensor) for item in content):
        raise ValueError("it is a list of something else than tensors")
    return content, None


def _read_parquet(path: Path) -> tuple[Any, list[str] | None]:
    from pyarrow import ArrowInvalid, parquet, types

    try:
        table = parquet.read_table(path)
    except ArrowInvalid as err:
        raise ValueError(err) from err
    ids = next((table.column(key).cast("string").to_pylist() for key in _ID_COLUMNS if key in table.column_names), None)
    columns = [name for name in table.column_names if name not in _ID_COLUMNS]
    lists = [c for c in columns if types.is_list(table.schema.field(c).type) or _fixed(table.schema.field(c).type)]
    if lists:
        return {name: _stacked(table.column(name).to_pylist(), name) for name in lists}, ids
    numeric = [c for c in columns if types.is_floating(table.schema.field(c).type)]
    if not numeric:
        raise ValueError("it has no column of lists of numbers and no column of floats")
    return np.stack([table.column(name).to_numpy() for name in numeric], axis=1), ids


def _fixed(kind: Any) -> bool:
    from pyarrow import types

    return types.is_fixed_size_list(kind) or types.is_large_list(kind)


def _stacked(rows: list[Any], name: str) -> np.ndarray:
    lengths = {len(row) if row is not None else 0 for row in rows}
    if len(lengths) != 1:
        raise ValueError(f"the lists of column {name!r} differ in length: {sorted(lengths)[:4]}")
    return np.asarray(rows, dtype=np.float32)


SUFFIXES: dict[str, Callable[[Path], tuple[Any, list[str] | None]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".parquet": _read_parquet,
}
