"""Stored decompositions: read back with their target, ready to be looked into.

Axis letters: none.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig, LanguageTargetConfig
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.evaluation import Evaluation
from interp_plugins.methods.spd.inputs import Problem, toy_problem
from interp_plugins.methods.spd.targets.store import read_weights
from interp_plugins.methods.spd.training import import_weights
from interp_registry.config_io import decode
from interp_registry.contracts.method import RunContext
from interp_registry.stores.products import find_product
from interp_registry.stores.records import read_record

__all__ = ["Stored", "find_decomposition", "load_decomposition"]

_FOLDER, _RECORD = "decomposition", "decomposition.json"


@dataclass(frozen=True)
class Stored:
    """A decomposition read back.

    Attributes:
        folder: Where it lies.
        name: Name of its experiment.
        model: Components and importance functions.
        config: Its configuration.
        problem: Target and data.
    """

    folder: Path
    name: str
    model: Decomposition
    config: DecomposeConfig
    problem: Problem

    def evaluation(self, seed: int, n_batches: int | None = None, batch_size: int | None = None) -> Evaluation:
        """Return it with batches to judge it on."""
        from dataclasses import replace

        changed = replace(
            self.config,
            n_eval_batches=n_batches or self.config.n_eval_batches,
            eval_batch_size=batch_size or self.config.eval_batch_size,
        )
        return Evaluation(self.model, changed, self.problem.evaluation_batches, seed, self.problem.n_features)


def find_decomposition(name: str, ctx: RunContext) -> Path:
    """Return the folder of a decomposition: a run's id, its beginning or ending, "last", a run's folder or the folder itself.

    Raises:
        UsageError: Nothing of that name, or several runs, hold a decomposition.
    """
    return find_product(name, ctx.run.path.parent, f"{_FOLDER}/{_RECORD}", "decomposition", "interp spd run")


def load_decomposition(name: str, ctx: RunContext) -> Stored:
    """Read a decomposition back.

    Raises:
        UsageError: There is none of that name.
        CorruptError: A file is not what was written.
    """
    folder = find_decomposition(name, ctx)
    record: dict[str, Any] = read_record(folder / _RECORD)
    config = decode(DecomposeConfig, record["config"])
    if isinstance(config.target, LanguageTargetConfig):
        problem: Problem = config.target.build(ctx)
    else:
        problem = toy_problem(config, read_weights(folder / "target.safetensors"), record["target"])
    model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
    import_weights(model, read_weights(folder / "components.safetensors"))
    return Stored(folder, record["experiment"], model.requires_grad_(requires_grad=False), config, problem)
