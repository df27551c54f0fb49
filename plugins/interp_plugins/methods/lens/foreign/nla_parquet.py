"""Published activations of natural-language autoencoders: parquet files with a sidecar.

Columns: ``activation_vector`` (raw), ``n_raw_tokens``, ``activation_layer`` (K, output of block K, layer K + 1 here), ``doc_id``, and in
some ``detokenized_text_truncated``: the text up to the activation's token, which is tokenised again where a tokenizer is at hand.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as _compute
import pyarrow.parquet as pq
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from interp_plugins.methods.lens.foreign.samples import Samples
from interp_plugins.methods.lens.nla.sidecar import DatasetSidecar
from interp_registry.errors import DataError
from interp_registry.stores.hashing import hash_file

__all__ = ["read_nla_parquet"]

_pc: Any = _compute
_VECTOR, _TEXT = "activation_vector", "detokenized_text_truncated"
_NEEDED = (_VECTOR, "n_raw_tokens", "activation_layer", "doc_id")


def read_nla_parquet(path: Path, tokenizer: PreTrainedTokenizerBase | None = None) -> tuple[Samples, int]:
    """Read a file and its sidecar, and check one against the other.

    Args:
        path: The parquet file; ``<path>.nla_meta.yaml`` lies beside it.
        tokenizer: Of the model, to have the texts' tokens. A row whose text does not give ``n_raw_tokens`` tokens is left out: its
            activation would belong to another place.

    Returns:
        The rows, and how many were left out.

    Raises:
        DataError: File and sidecar do not agree, or the file is no such file; the message names column and row.
    """
    sidecar = DatasetSidecar.read(path)
    table = _table(path)
    if table.num_rows != sidecar.row_count:
        raise DataError(f"{sidecar.path}: row_count is {sidecar.row_count}, the file has {table.num_rows} rows")
    layers = [int(layer) for layer in _pc.unique(table["activation_layer"]).to_pylist()]
    if layers != [sidecar.layer_index]:
        raise DataError(
            f"{path}: activation_layer is {', '.join(map(str, sorted(layers)))}, "
            f"extraction.layer_index of the sidecar is {sidecar.layer_index}"
        )
    vectors = _vectors(table, sidecar.d_model, path)
    counts = torch.from_numpy(table["n_raw_tokens"].to_numpy().astype(np.int64))
    documents = torch.from_numpy(
        _pc.dictionary_encode(table["doc_id"].combine_chunks()).indices.to_numpy().astype(np.int64)
    )
    tokens, lengths, kept = _texts(table, counts, tokenizer)
    samples = Samples(
        layer=sidecar.layer,
        vectors=vectors[kept],
        token_ids=tokens[kept],
        lengths=lengths[kept],
        positions=counts[kept] - 1,
        documents=documents[kept],
        model=sidecar.base_model,
        dataset=sidecar.dataset_id,
        digest=hash_file(path),
    )
    if not len(samples):
        raise DataError(f"{path}: no text gives as many tokens as n_raw_tokens says", "is it the model's tokenizer?")
    return samples, int((~kept).sum())


def _table(path: Path) -> Any:
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise DataError(f"{path} has no column {', '.join(missing)}", f"it has {', '.join(names)}")
        return file.read(columns=[*_NEEDED, *([_TEXT] if _TEXT in names else [])])
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{path} is no parquet file: {str(err).splitlines()[0]}") from err


def _vectors(table: Any, width: int, path: Path) -> Tensor:
    column: Any = table[_VECTOR].combine_chunks()
    if not pa.types.is_list(column.type) and not pa.types.is_fixed_size_list(column.type):
        raise DataError(f"{path}: {_VECTOR} is {column.type}", "expected lists of numbers")
    sizes = _pc.unique(_pc.list_value_length(column)).to_pylist()
    if sizes != [width]:
        shown = ", ".join(str(size) for size in sizes[:5])
        raise DataError(f"{path}: {_VECTOR} has the lengths {shown}, extraction.d_model of the sidecar is {width}")
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    vectors = torch.from_numpy(flat.reshape(-1, width).copy())
    bad = (~vectors.isfinite().all(1)).nonzero()
    if len(bad):
        raise DataError(f"{path}: {_VECTOR} of row {int(bad[0])} is not finite")
    return vectors


def _texts(table: Any, counts: Tensor, tokenizer: PreTrainedTokenizerBase | None) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, lengths and which rows are kept."""
    n_rows = table.num_rows
    if tokenizer is None or _TEXT not in table.column_names:
        return torch.zeros(n_rows, 1, dtype=torch.int64), torch.zeros(n_rows, dtype=torch.int64), torch.ones(n_rows) > 0
    encoded: list[list[int]] = [
        _without_end(tokenizer, ids)
        for ids in tokenizer([text or "" for text in table[_TEXT].to_pylist()])["input_ids"]  # pyright: ignore[reportGeneralTypeIssues]
    ]
    kept = torch.tensor([len(ids) for ids in encoded]) == counts
    width = max([len(ids) for ids, keep in zip(encoded, kept.tolist(), strict=True) if keep], default=1)
    tokens = torch.zeros(n_rows, width, dtype=torch.int64)
    for place, ids in enumerate(encoded):
        if kept[place]:
            tokens[place, : len(ids)] = torch.tensor(ids)
    return tokens, counts * kept, kept


def _without_end(tokenizer: PreTrainedTokenizerBase, ids: Any) -> list[int]:
    """Tokens without the end token that some tokenizers add: the text is cut in the middle."""
    found = list(ids)
    return found[:-1] if len(found) > 1 and found[-1] == tokenizer.eos_token_id else found
