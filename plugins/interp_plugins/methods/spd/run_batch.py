"""``interp spd run --sweep --batched``: points of a sweep side by side in one process."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from interp_plugins.methods.spd.batched import BatchedTraining, Point
from interp_plugins.methods.spd.config import DecomposeConfig, LanguageTargetConfig, RunConfig
from interp_plugins.methods.spd.decompose import decompose_together
from interp_plugins.methods.spd.experiments import experiment_names, load_experiment
from interp_plugins.methods.spd.inputs import load_problem
from interp_plugins.methods.spd.loss_config import ImportanceMinimalityConfig
from interp_plugins.methods.spd.run import result_of, tools_of
from interp_registry.catalog import Catalog
from interp_registry.config_io import encode
from interp_registry.contracts.method import Result, RunContext
from interp_registry.contracts.tracker import GuardedTracker
from interp_registry.errors import UsageError
from interp_registry.events import Event, EventSink, FanOut, Scalar

__all__ = ["batch_key", "run_batch"]


def batch_key(config: RunConfig, catalog: Catalog) -> dict[str, Any] | None:
    """Return what a run must share with others to be trained with them in one batch; None where it runs by itself.

    Everything but the seed, the learning rate, the coefficients of the losses and the exponent p.
    """
    names = experiment_names(config.experiments, catalog)
    if len(names) != 1 or config.seeds:
        return None
    experiment = load_experiment(names[0], catalog, config.setting, config.changes())
    if isinstance(experiment.target, LanguageTargetConfig) or experiment.accumulate != 1:
        return None
    return {"experiment": names[0], "target_seed": config.target_seed, "config": encode(_common(experiment))}


def _common(experiment: DecomposeConfig) -> DecomposeConfig:
    """Return an experiment with fixed values where runs of one batch may differ."""
    losses = {label: replace(loss, coeff=1.0) for label, loss in experiment.losses.items()}
    for label, loss in losses.items():
        if isinstance(loss, ImportanceMinimalityConfig) and loss.p_final is None:
            losses[label] = replace(loss, p=1.0)
    return replace(experiment, learning_rate=1.0, losses=losses)


def run_batch(configs: Sequence[RunConfig], contexts: Sequence[RunContext]) -> list[Result]:
    """Decompose with several settings in one batched training; each ends as it would have ended alone, up to rounding.

    Args:
        configs: Runs with equal :func:`batch_key`.
        contexts: The run of each.

    Returns:
        What ``run`` would return for each; ``cpu_seconds`` is an equal share of all.

    Raises:
        UsageError: The runs have not enough in common.
    """
    catalog = contexts[0].catalog
    keys = [batch_key(config, catalog) for config in configs]
    if keys[0] is None or any(key != keys[0] for key in keys):
        raise UsageError("these runs cannot share a process", "leave --batched out")
    name = keys[0]["experiment"]
    experiments = [load_experiment(name, catalog, config.setting, config.changes()) for config in configs]
    problem = load_problem(experiments[0], configs[0].target_seed, contexts[0])
    points = [_point(ctx.seed, one, experiments[0]) for one, ctx in zip(experiments, contexts, strict=True)]
    everyone = FanOut([ctx.events for ctx in contexts])
    tools = replace(tools_of(experiments[0], contexts[0]), events=everyone, tracker=None, checkpoints=None)
    trained = decompose_together(experiments[0], problem, points, tools, lambda batch: _OwnLosses(batch, contexts))
    share = time.process_time() / len(configs)
    return [
        result_of(mine, experiment, name, ctx, share)
        for mine, experiment, ctx in zip(trained, experiments, contexts, strict=True)
    ]


def _point(seed: int, mine: DecomposeConfig, first: DecomposeConfig) -> Point:
    """Return what a run has for itself in a batch that is configured as the first."""
    powers = {
        label: loss.p
        for label, loss in mine.losses.items()
        if isinstance(loss, ImportanceMinimalityConfig) and loss.p_final is None
    }
    coeffs = {label: loss.coeff for label, loss in mine.losses.items()}
    return Point(seed, mine.learning_rate / first.learning_rate, coeffs, powers)


class _OwnLosses(EventSink):
    """Gives every run of a batch its own losses; everything else goes to all."""

    def __init__(self, training: BatchedTraining, contexts: Sequence[RunContext]) -> None:
        self._training, self._contexts = training, contexts
        self._all = FanOut([ctx.events for ctx in contexts])

    def emit(self, event: Event) -> None:
        """Hand an event on, a loss with each run's own value."""
        if not isinstance(event, Scalar):
            self._all.emit(event)
            return
        values = self._training.each.get(event.name.removeprefix("train/"))
        for i, (ctx, point) in enumerate(zip(self._contexts, self._training.points, strict=True)):
            factor = point.rate if event.name.startswith("lr/") else 1.0
            value = event.value * factor if values is None else float(values[i])
            if not (isinstance(ctx.tracker, GuardedTracker) and ctx.tracker.writes_to(ctx.events)):
                ctx.events.scalar(event.name, value, event.step)
            ctx.tracker.log({event.name: value}, event.step)

    def progress(self, task: str, done: float, total: float | None = None, unit: str = "") -> None:
        """Tell every run how far the batch is."""
        self._all.progress(task, done, total, unit)
