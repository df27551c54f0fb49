"""``interp spd pretrain``: train and store toy targets."""

from dataclasses import replace

from interp_plugins.methods.spd.config import LanguageTargetConfig, PretrainConfig
from interp_plugins.methods.spd.experiments import experiment_names, load_experiment
from interp_plugins.methods.spd.targets.store import describe, obtain_target
from interp_registry.contracts.method import Failure, Result, RunContext
from interp_registry.errors import InterpError, UsageError
from interp_registry.figures import Table

__all__ = ["pretrain"]


def pretrain(config: PretrainConfig, ctx: RunContext) -> Result:
    """Train the targets of experiments that are not stored yet.

    Args:
        config: Which ones, and what to change in the recipes.
        ctx: The run.

    Returns:
        One row per target; targets whose training failed are listed as failures.
    """
    names = experiment_names(config.experiments, ctx.catalog)
    result = Result()
    rows: list[dict[str, str | bool]] = []
    for name in names:
        changes = {"target": config.target} if config.target else {}
        target = load_experiment(name, ctx.catalog, config.setting, changes).target
        if isinstance(target, LanguageTargetConfig):
            if config.experiments:
                raise UsageError(f"the target of {name!r} is a language model, which is not trained here")
            continue
        try:
            loaded = obtain_target(replace(target), config.target_seed, ctx.cache, ctx.events, lambda: ctx.stopping)
        except InterpError as err:
            if len(names) == 1:
                raise
            result.failures.append(Failure(name, type(err).__name__, str(err)))
            continue
        rows.append({"experiment": name, "trained": loaded.trained, "target": describe(loaded.record),
                     "folder": str(loaded.folder)})  # fmt: skip
        result.artifacts.append(loaded.folder)
        result.data[name] = loaded.record
    result.scalars = {"n_targets": len(rows)}
    result.tables.append(Table.of_records(rows, title="targets"))
    return result
