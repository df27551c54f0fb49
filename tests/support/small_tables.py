"""Small feature tables whose content is a function of their plan."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from interp_registry.stores.features import FeatureEntry, FeaturePlan, FeatureRequest, FeatureStore
from interp_registry.stores.tables import Column


class SmallTable:
    """Features of ``n_shards`` shards; ``name`` makes other ones."""

    def __init__(self, n_shards: int = 24, shard_rows: int = 16, width: int = 64, name: str = "model") -> None:
        self.request = FeatureRequest(name, "world", "f00d")
        n_rows = n_shards * shard_rows - shard_rows // 2
        self.plan = FeaturePlan(n_rows, shard_rows, {"0": width, "1": width}, {"loss": Column("float64")})
        source = torch.Generator().manual_seed(len(name))
        self.tensors: dict[str, Tensor] = {
            "avg/0": torch.randn(n_rows, width, generator=source),
            "avg/1": torch.randn(n_rows, width, generator=source),
            "loss": torch.rand(n_rows, generator=source, dtype=torch.float64),
        }

    def open(self, root: Path) -> FeatureEntry:
        """Plan the features below a root, or go on with them."""
        return FeatureStore(root).open(self.request, self.plan, {"torch": "1"})

    def write(self, entry: FeatureEntry, index: int) -> bool:
        """Write one shard."""
        rows = entry.rows(index)
        part = {name: tensor[rows.start : rows.stop] for name, tensor in self.tensors.items()}
        return entry.write_shard(index, part, [f"sample {row}" for row in rows])

    def complete(self, root: Path, order: random.Random | None = None) -> FeatureEntry:
        """Write what is missing, in a random order if asked, and declare the features complete."""
        entry = self.open(root)
        missing = entry.missing_shards("structure")
        if order is not None:
            order.shuffle(missing)
        for index in missing:
            self.write(entry, index)
        entry.finish({"n_params": 3})
        return entry


def content(folder: Path, names: Sequence[str] | None = None) -> dict[str, bytes]:
    """All files of a folder but the temporary ones, by name."""
    files = (path for path in sorted(folder.iterdir()) if not path.name.endswith(".tmp"))
    return {path.name: path.read_bytes() for path in files if names is None or path.name in names}
