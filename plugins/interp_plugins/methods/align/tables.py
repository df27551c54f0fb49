"""Tables and stored matrices of an alignment run."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from interp_plugins.methods.align.pairs import PairScore
from interp_registry.figures import Cell, Table

__all__ = ["pair_records", "scores_table", "write_scores"]


def scores_table(pairs: Sequence[PairScore], title: str = "alignment") -> Table:
    """One row per model pair and metric."""
    records = [_row(pair) for pair in pairs]
    used = [column for column in records[0] if any(record[column] is not None for record in records)]
    notes = ["layers are addresses: 0 is the embedding, L the output after the final norm"] if _addressed(pairs) else []
    if "p" in used:
        notes.append("q: p adjusted over the model pairs of the metric (Benjamini-Hochberg)")
    rows = tuple(tuple(record[column] for column in used) for record in records)
    return Table(tuple(used), rows, title=title, name="scores", notes=tuple(notes))


def pair_records(pairs: Sequence[PairScore]) -> list[dict[str, Any]]:
    """Everything about each pair as JSON values, the layer matrix included."""
    return [
        {
            **{key: value for key, value in _row(pair).items() if value is not None},
            "options": pair.alignments.options,
            "layers_x": pair.x.features.layers,
            "layers_y": pair.y.features.layers,
            "scores": pair.alignments.scores.tolist(),
            "n": pair.alignments.n,
            "statistic": pair.alignments.statistic,
            "interval": None if pair.alignments.interval is None else asdict(pair.alignments.interval),
            "curve": [asdict(point) for point in pair.curve],
        }
        for pair in pairs
    ]


def write_scores(pairs: Sequence[PairScore], path: Path) -> None:
    """Write all layer matrices (float64) and, where there is one, the null of each statistic to a safetensors file.

    Tensor ``i.scores`` and ``i.null`` belong to entry i of the JSON list in the header.
    """
    from safetensors.numpy import save

    from interp_registry.stores.artifact import replace

    tensors: dict[str, np.ndarray] = {}
    for index, pair in enumerate(pairs):
        tensors[f"{index}.scores"] = np.ascontiguousarray(pair.alignments.scores)
        if pair.alignments.null is not None:
            tensors[f"{index}.null"] = np.ascontiguousarray(pair.alignments.null)
    described = [{k: v for k, v in record.items() if k != "scores"} for record in pair_records(pairs)]
    content = save(tensors, {"pairs": json.dumps(described)})
    replace(path, lambda file: file.write(content))


def _addressed(pairs: Sequence[PairScore]) -> bool:
    return any(pair.x.features.addressed or pair.y.features.addressed for pair in pairs)


def _row(pair: PairScore) -> dict[str, Cell]:
    result, (layer_x, layer_y) = pair.alignments, pair.addresses
    interval = result.interval
    return {
        "metric": result.metric,
        "x": pair.x.name,
        "y": pair.y.name,
        "score": result.value,
        "layer x": layer_x,
        "layer y": layer_y,
        "p": result.p_value,
        "q": pair.adjusted_p,
        "calibrated": result.calibrated,
        "threshold": result.threshold,
        "null mean": None if result.null is None else float(result.null.mean()),
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "embedding": pair.embedding_score,
    }
