"""Dumps of Consistency Lens: ``.pt`` files with lists of samples, alone or as shards beside a ``metadata.json``.

A sample is ``{A, A_prime, input_ids_A, input_ids_A_prime, token_pos_A, token_pos_A_prime, layer_idx}``; ``layer_idx`` is the index of
``hidden_states``, as here. A' is the activation of another text, so it is a row like any other. Shards may lie in folders ``rank_<k>``.

The files are read with ``weights_only``: tensors, numbers, lists and dictionaries. One that holds anything else is refused.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.lens.foreign.samples import Samples
from interp_registry.errors import DataError
from interp_registry.stores.hashing import hash_file
from interp_registry.stores.pt_files import read_pt

__all__ = ["read_consistency"]

_MAX_METADATA = 64 << 20


def read_consistency(path: Path) -> Samples:
    """Read a file, or a folder with its shards.

    Rows that are there twice (the same text and token) are taken once.

    Raises:
        DataError: A file holds Python objects, no such samples, samples of several layers or widths, or their number is not that of
            the metadata.
    """
    files, metadata = _files(path)
    rows: list[tuple[Tensor, Tensor, int]] = []
    layers: set[int] = set()
    for file, stated in files:
        samples = read_pt(file)
        if not isinstance(samples, list) or not samples:
            raise DataError(f"{file} holds no list of samples", "is it a dump of Consistency Lens?")
        if stated is not None and len(samples) != stated:
            raise DataError(f"{file} holds {len(samples)} samples, metadata.json says {stated}", "copy it again")
        for place, sample in enumerate(samples):
            rows += _rows_of(sample, f"{file}, sample {place}")
            layers.add(_whole(sample, "layer_idx", f"{file}, sample {place}"))
    if len(layers) > 1:
        raise DataError(f"{path} has samples of the layers {sorted(layers)}", "dumps of one layer can be read")
    settings = metadata.get("config", {})
    stated = settings.get("layer_idx")
    if stated is not None and {int(stated)} != layers:
        raise DataError(f"{path}: metadata.json says layer {stated}, the samples say {sorted(layers)}")
    digest = hashlib.sha256("".join(hash_file(file) for file, _ in files).encode()).hexdigest()
    return _together(rows, layers.pop(), settings, digest, path)


def _files(path: Path) -> tuple[list[tuple[Path, int | None]], dict[str, Any]]:
    """Files in order with the stated number of samples, and the metadata."""
    if path.is_file():
        return [(path, None)], {}
    if not path.is_dir():
        raise DataError(f"no file or folder {path}")
    ranks = sorted(folder for folder in path.glob("rank_*") if folder.is_dir())
    own = _metadata(path)
    folders = [path] if list(path.glob("*.pt")) or not ranks else ranks
    found: list[tuple[Path, int | None]] = []
    for folder in folders:
        metadata = own if folder == path else _metadata(folder)
        shards = metadata.get("shards")
        if shards is None:
            found += [(file, None) for file in sorted(folder.glob("*.pt"))]
        else:
            found += [_shard(folder, shard) for shard in shards]
        own = own or metadata
    if not found:
        raise DataError(f"{path} has no .pt files")
    return found, own


def _shard(folder: Path, shard: Any) -> tuple[Path, int | None]:
    name = shard.get("name") if isinstance(shard, dict) else None
    if not isinstance(name, str) or not name:
        raise DataError(f"{folder / 'metadata.json'} names a shard {name!r}")
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise DataError(f"{folder / 'metadata.json'} names a shard {name!r} outside of the folder")
    if not file.is_file():
        raise DataError(f"{file} is missing", "metadata.json names it")
    return file, shard.get("num_samples")


def _metadata(folder: Path) -> dict[str, Any]:
    path = folder / "metadata.json"
    if not path.is_file():
        return {}
    if path.stat().st_size > _MAX_METADATA:
        raise DataError(f"{path} is larger than {_MAX_METADATA} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise DataError(f"{path} is no JSON: {err}") from err
    if not isinstance(content, dict):
        raise DataError(f"{path} is no JSON object")
    return content


def _rows_of(sample: Any, where: str) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Vector, text and position of A and, where it is there, of A'."""
    if not isinstance(sample, dict):
        raise DataError(f"{where} is no dictionary")
    for suffix, vector in (("A", "A"), ("A_prime", "A_prime")):
        if suffix == "A_prime" and vector not in sample:
            continue
        activation, ids = sample.get(vector), sample.get(f"input_ids_{suffix}")
        if not isinstance(activation, Tensor) or not activation.is_floating_point():
            raise DataError(f"{where} has no vector {vector}")
        if not isinstance(ids, Tensor) or ids.is_floating_point():
            raise DataError(f"{where} has no tokens input_ids_{suffix}")
        if not activation.isfinite().all():
            raise DataError(
                f"{where}: {vector} is not finite", "float16 overflows at lengths beyond 65504: dump it anew"
            )
        position = _whole(sample, f"token_pos_{suffix}", where)
        ids = ids.reshape(-1)
        if not 0 <= position < len(ids):
            raise DataError(f"{where}: token_pos_{suffix} is {position}, the text has {len(ids)} tokens")
        yield activation.reshape(-1), ids, position


def _whole(sample: Any, key: str, where: str) -> int:
    value = sample.get(key)
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, int) or isinstance(value, bool):
        raise DataError(f"{where}: {key} is {value!r}", "expected a whole number")
    return value


def _together(
    rows: list[tuple[Tensor, Tensor, int]], layer: int, settings: dict[str, Any], digest: str, path: Path
) -> Samples:
    widths = {len(vector) for vector, _, _ in rows}
    if len(widths) > 1:
        raise DataError(f"{path} has vectors of the widths {sorted(widths)}")
    texts: dict[tuple[int, ...], int] = {}
    kept: dict[tuple[int, int], tuple[Tensor, Tensor, int]] = {}
    for vector, ids, position in rows:
        document = texts.setdefault(tuple(ids.tolist()), len(texts))
        kept.setdefault((document, position), (vector, ids, position))
    width = max(len(ids) for _, ids, _ in kept.values())
    tokens = torch.zeros(len(kept), width, dtype=torch.int64)
    lengths = torch.zeros(len(kept), dtype=torch.int64)
    for place, (_, ids, position) in enumerate(kept.values()):
        tokens[place, : len(ids)] = ids
        lengths[place] = max(_real_length(ids), position + 1)
    return Samples(
        layer=layer,
        vectors=torch.stack([vector for vector, _, _ in kept.values()]),
        token_ids=tokens,
        lengths=lengths,
        positions=torch.tensor([position for _, position in kept]),
        documents=torch.tensor([document for document, _ in kept]),
        model=str(settings.get("model_name", "unknown")),
        dataset=f"{settings.get('hf_dataset_name') or path.name}:{settings.get('split_name', '')}".rstrip(":"),
        digest=digest,
    )


def _real_length(ids: Tensor) -> int:
    """Tokens but for padding, which is a run of one token at the end; its first may be a real end of text and is kept."""
    other = (ids != ids[-1]).nonzero()
    return min(len(ids), (int(other[-1]) if len(other) else -1) + 2)
