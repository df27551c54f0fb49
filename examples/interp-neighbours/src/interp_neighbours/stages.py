"""Load, one pure function, store: what the two stages do."""

from pathlib import Path

import torch
from interp_registry import Result, RunContext
from interp_registry.errors import DataError
from interp_registry.figures import Table
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from interp_neighbours.config import IndexConfig, ShowConfig


def nearest(features: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """Cosine neighbours of every row of ``features`` [n, d], itself left out.

    Returns:
        Rows [n, topk] and their cosines, nearest first.

    Raises:
        DataError: There are not more samples than neighbours.
    """
    if not 0 < topk < len(features):
        raise DataError(f"{topk} neighbours of {len(features)} samples", "choose a smaller --topk")
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    cosines = unit @ unit.T
    cosines.fill_diagonal_(-2.0)
    values, rows = cosines.topk(topk, dim=1)
    return rows, values


def index(config: IndexConfig, ctx: RunContext) -> Result:
    """Index one layer of stored features."""
    entry = ctx.features.get(config.key)
    layer = config.layer or entry.layers[-1]
    rows, cosines = nearest(entry.read(layer, entry.pools[0]), config.topk)
    path = ctx.run.artifact("neighbours.safetensors")
    save_file({"rows": rows, "cosines": cosines}, path, metadata={"ids": "\n".join(entry.ids)})
    mean = float(cosines.mean())
    return Result(scalars={"samples": len(rows), "mean_cosine": mean}, artifacts=[path], data={"layer": layer})


def show(config: ShowConfig, ctx: RunContext) -> Result:
    """Show one sample's neighbours."""
    path = Path(config.index) / "neighbours.safetensors"
    if not path.is_file():
        raise DataError(f"{config.index} holds no index", "give the folder that `interp neighbours index` printed")
    with safe_open(path, "pt") as file:
        rows, cosines, ids = file.get_tensor("rows"), file.get_tensor("cosines"), file.metadata()["ids"].split("\n")
    if not 0 <= config.sample < len(ids):
        raise DataError(f"there is no sample {config.sample}", f"the index has samples 0 to {len(ids) - 1}")
    found = zip(rows[config.sample].tolist(), cosines[config.sample].tolist(), strict=True)
    table = Table(("sample", "cosine"), tuple((ids[row], cosine) for row, cosine in found), title=ids[config.sample])
    return Result(tables=[table])
