"""What one pass over the data writes, and how its samples are cut: into shards, groups of a shard, and batches."""

from dataclasses import dataclass
from typing import Any

from interp_plugins.methods.extract.planning import BatchPlan, shards_of
from interp_registry.stores.activations import ActivationEntry
from interp_registry.stores.features import FeatureEntry
from interp_registry.stores.keys import Json

__all__ = ["Cut", "Work"]


@dataclass(frozen=True)
class Cut:
    """How samples are cut; a function of settings, data and model only, and kept in the manifest."""

    shard_rows: int
    """Samples per shard of pooled features, which one process computes as a whole."""
    batch: BatchPlan
    """How a shard is cut into groups (one shard of token activations each) and a group into batches."""

    @classmethod
    def of_features(cls, entry: FeatureEntry) -> "Cut":
        """As it stands in the manifest of pooled features."""
        return cls(entry.plan["shard_rows"], BatchPlan(**entry.plan["batch"]))

    @classmethod
    def of_tokens(cls, entry: ActivationEntry) -> "Cut":
        """As it stands in the manifest of token activations."""
        source: dict[str, Any] = entry.plan["source"]
        return cls(source["shard_rows"], BatchPlan(**source["batch"]))

    def to_json(self) -> dict[str, Json]:
        """As it stands in the manifest of token activations."""
        return {"shard_rows": self.shard_rows, "batch": self.batch.to_json()}


@dataclass(frozen=True)
class Work:
    """What one pass over the data writes."""

    cut: Cut
    n_rows: int
    """Number of samples."""
    features: FeatureEntry | None = None
    """Where pooled features go."""
    tokens: ActivationEntry | None = None
    """Where token activations go."""

    @property
    def shards(self) -> list[range]:
        """Rows of each shard."""
        return shards_of(self.n_rows, self.cut.shard_rows)

    def groups(self, index: int) -> dict[int, range]:
        """Rows of each group of a shard, by the number that it has in the token store."""
        per_shard = -(-self.cut.shard_rows // (self.cut.batch.group or self.cut.shard_rows))
        return dict(enumerate(self.cut.batch.groups(self.shards[index]), start=index * per_shard))

    @property
    def n_groups(self) -> int:
        """How many shards the token store has when it is complete."""
        return sum(len(self.groups(index)) for index in range(len(self.shards)))

    def missing(self) -> dict[int, dict[int, range]]:
        """Groups to compute, by shard: all of a shard whose features are missing, else those whose tokens are.

        Raises:
            CorruptError: A stored shard of features is not what was written.
        """
        without_features = set() if self.features is None else set(self.features.missing_shards())
        return {
            index: groups
            for index in range(len(self.shards))
            if (groups := self.groups(index) if index in without_features else self._without_tokens(index))
        }

    def _without_tokens(self, index: int) -> dict[int, range]:
        if self.tokens is None:
            return {}
        stored = set(self.tokens.present_shards())
        return {number: rows for number, rows in self.groups(index).items() if number not in stored}
