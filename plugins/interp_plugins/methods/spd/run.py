"""``interp spd run``: target, components, training, metrics."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.spd.batched import BatchedTraining, Point, separate
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig, RunConfig
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.evaluation import Evaluation, Measured, measure
from interp_plugins.methods.spd.experiments import experiment_names, load_experiment
from interp_plugins.methods.spd.inputs import Problem, load_problem
from interp_plugins.methods.spd.processes import Share
from interp_plugins.methods.spd.starts import Starts, best_start, kept_checkpoints, start_seed
from interp_plugins.methods.spd.training import DecompositionTraining, WarmupTraining, export_weights
from interp_registry.config_io import encode
from interp_registry.contracts.method import Cost, Failure, Result, RunContext
from interp_registry.errors import InterpError, PartialFailureError, UsageError
from interp_registry.figures import Table
from interp_registry.stores.artifact import replace as replace_file
from interp_registry.stores.records import replace_record
from interp_registry.stores.shards import write_shard
from interp_registry.tensors.seeding import generator
from interp_registry.training.config import TrainingConfig
from interp_registry.training.loop import Tools, TrainingSummary, train
from interp_registry.training.schedules import ScheduleConfig, parse_duration

__all__ = ["Trained", "decompose", "estimate", "run", "step_milliseconds", "steps_in_all", "training_config"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A trained decomposition.

    Attributes:
        model: Components and importance functions.
        problem: Target and data.
        summary: How the training went.
        starts: Which of several starts it is.
    """

    model: Decomposition
    problem: Problem
    summary: TrainingSummary
    starts: Starts


def run(config: RunConfig, ctx: RunContext) -> Result:
    """Decompose one experiment in this run, or several, each in a child run.

    Args:
        config: The experiments and what to change in them.
        ctx: The run.

    Returns:
        Metrics, figures and the folder of the decomposition; for several experiments one row each.

    Raises:
        UsageError: An experiment or a value is wrong.
        PartialFailureError: Every one of several experiments failed.
    """
    names = experiment_names(config.experiments, ctx.catalog)
    if len(names) == 1:
        return _run_one(load_experiment(names[0], ctx.catalog, config.setting, config.changes()), names[0], config, ctx)
    result, rows = Result(), []
    for name in names:
        try:
            child = ctx.run_stage("spd run", replace(config, experiments=[name]))
        except UsageError:
            raise
        except InterpError as err:
            result.failures.append(Failure(name, type(err).__name__, str(err)))
            continue
        found = (child.result or {}).get("metrics", {})
        result.data[name] = {"run": child.id, "metrics": found}
        rows.append({"experiment": name, "run": child.id, **found})
        result.artifacts.append(child.path)
    if not rows:
        raise PartialFailureError(f"all {len(names)} experiments failed", str(result.failures[0].message))
    result.tables.append(Table.of_records(rows, title="decompositions"))
    result.scalars = {"n_decompositions": len(rows)}
    return result


def _run_one(experiment: DecomposeConfig, name: str, config: RunConfig, ctx: RunContext) -> Result:
    problem = load_problem(experiment, config.target_seed, ctx)
    if config.seeds:
        return _run_side_by_side(experiment, name, problem, config.seeds, ctx)
    trained = decompose(experiment, problem, ctx.seed, _tools(experiment, ctx))
    found = evaluate(trained, experiment, ctx.seed)
    metrics = {**found.scalars, **{label: v for label, v in trained.summary.losses.items() if label != "loss"}}
    metrics["loss"] = trained.summary.losses.get("loss", float("nan"))
    folder = _store(trained, experiment, name, ctx)
    head = ("mmcs_mean", "ml2r_mean", "identity_ci_error", "ci_l0", "faithfulness", "loss")
    scalars: dict[str, Any] = {key: metrics[key] for key in head if key in metrics}
    details: dict[str, Any] = {
        "experiment": name,
        "metrics": metrics,
        "target": problem.record,
        "steps": trained.summary.steps,
    }
    details["cpu_seconds"] = round(time.process_time(), 1)
    starts = trained.starts
    if starts.losses:
        details["starts"] = {"taken": starts.taken, "seed": str(starts.seed), "losses": list(starts.losses)}
    rows = tuple((key, value) for key, value in metrics.items())
    table = Table(("metric", "value"), rows, title=f"decomposition of {name}")
    return Result(scalars=scalars, tables=[table], figures=list(found.figures), artifacts=[folder], data=details)


def _run_side_by_side(
    experiment: DecomposeConfig, name: str, problem: Problem, seeds: Sequence[int], ctx: RunContext
) -> Result:
    """Decompose with several seeds in one batched training; a row and a folder for each."""
    training: Any = BatchedTraining(experiment, problem, [Point(seed) for seed in seeds])
    summary = train(training, training_config(experiment), ctx.seed, _tools(experiment, ctx))
    result, rows = Result(), []
    for seed, model in zip(seeds, separate(training), strict=True):
        trained = Trained(model, problem, summary, Starts(0, seed))
        found = evaluate(trained, experiment, seed).scalars
        rows.append({"seed": seed, **found})
        result.artifacts.append(_store(trained, experiment, name, ctx, f"decomposition-seed-{seed}"))
    shared = [key for key in ("mmcs_mean", "ml2r_mean", "identity_ci_error", "ci_l0") if key in rows[0]]
    result.scalars = {"n_decompositions": len(rows)}
    result.tables.append(Table.of_records([{key: row[key] for key in ("seed", *shared)} for row in rows], title=name))
    result.data = {"experiment": name, "seeds": {str(row["seed"]): row for row in rows}, "target": problem.record}
    return result


def training_config(config: DecomposeConfig) -> TrainingConfig:
    """Return the loop's settings: the schedules span ``steps`` even when the training stops earlier."""
    return TrainingConfig(
        steps=min(config.steps, config.stop_after or config.steps),
        schedule=_over(config.schedule, config.steps),
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        accumulate=config.accumulate,
    )


def _over(schedule: ScheduleConfig, steps: int) -> ScheduleConfig:
    """Write a schedule over ``steps`` in steps: shares of a training that stops earlier would be others."""
    spans = {name: getattr(schedule, name) for name in ("warmup", "hold", "half_life")}
    spans["length"] = schedule.length or str(steps)
    return replace(schedule, **{k: v if v is None else str(parse_duration(v, steps)) for k, v in spans.items()})


def _tools(config: DecomposeConfig, ctx: RunContext) -> Tools:
    return Tools.of(ctx, training_config(config))


def decompose(config: DecomposeConfig, problem: Problem, seed: int, tools: Tools | None = None) -> Trained:
    """Train a decomposition of a loaded target; of several starts the best goes on.

    Args:
        config: The decomposition.
        problem: Target and data.
        seed: Seed of components, batches and masks.
        tools: Events, checkpoints and so on; without checkpoints nothing is resumed.
    """
    tools = tools or Tools()
    settings = training_config(config)
    if config.starts.n == 1:
        training: Any = _begin(
            config, problem, seed, tools
        )  # its optimiser has the interface, not the class, of torch's
        return Trained(training.model, problem, train(training, settings, seed, tools), Starts(0, seed))
    short = replace(settings, steps=min(settings.steps, config.starts.steps))
    with kept_checkpoints(tools) as kept:
        starts = best_start(
            lambda number: _begin(config, problem, start_seed(seed, number), tools), config.starts.n, short, kept
        )
        training = _begin(config, problem, starts.seed, kept)
        return Trained(training.model, problem, train(training, settings, starts.seed, kept), starts)


def _begin(config: DecomposeConfig, problem: Problem, seed: int, tools: Tools) -> DecompositionTraining:
    """Return a decomposition at its beginning, warmed up unless it goes on from a checkpoint."""
    device = problem.target.weight(problem.target.module_names()[0]).device
    model = build_decomposition(config, problem.target, generator(seed, "spd init", device=device))
    if config.warmup.steps and (tools.checkpoints is None or tools.checkpoints.latest() is None):
        warmup: Any = WarmupTraining(model, config.warmup.learning_rate, config.warmup.weight_decay)
        train(warmup, TrainingConfig(steps=config.warmup.steps, log_every=config.warmup.steps), seed)
    accelerator = tools.accelerator
    share = Share() if accelerator is None else Share(accelerator.process_index, accelerator.num_processes)
    return DecompositionTraining(model, config, problem.batches, seed, share=share)


def evaluate(trained: Trained, config: DecomposeConfig, seed: int) -> Measured:
    """Return what the configured metrics find."""
    evaluation = Evaluation(trained.model, config, trained.problem.evaluation_batches, seed, trained.problem.n_features)
    return measure(evaluation)


def _store(
    trained: Trained, config: DecomposeConfig, name: str, ctx: RunContext, folder: str = "decomposition"
) -> Path:
    """Write the components, the target and what is needed to load them again."""
    weights: dict[str, Tensor] = export_weights(trained.model)
    file = ctx.run.artifact(f"{folder}/components.safetensors")
    replace_file(file, lambda out: write_shard(out, weights, {"kind": "spd decomposition"}))
    if trained.problem.weights:
        target = {key: value.contiguous() for key, value in trained.problem.weights.items()}
        replace_file(file.with_name("target.safetensors"), lambda out: write_shard(out, target, {"kind": "spd target"}))
    record = {
        "experiment": name,
        "config": encode(config),
        "sites": {site.name: site.n_components for site in trained.model.sites},
        "target": trained.problem.record,
        "threads": torch.get_num_threads(),
    }
    replace_record(file.with_name("decomposition.json"), record)
    return file.parent


_MILLISECONDS = {"tms_5-2": 4, "tms_5-2-id": 6, "tms_40-10": 120, "tms_40-10-id": 180, "resid_mlp1": 30,
                 "resid_mlp2": 250, "resid_mlp3": 2500}  # fmt: skip


def step_milliseconds(name: str) -> float | None:
    """Return what a step of a catalog experiment costs on one processor thread, as measured; None where it is not known."""
    return _MILLISECONDS.get(name)


def steps_in_all(config: DecomposeConfig) -> int:
    """Return the number of training steps of all starts together."""
    steps = training_config(config).steps
    return steps + (config.starts.n - 1) * min(steps, config.starts.steps)


def estimate(config: RunConfig, ctx: RunContext) -> Cost:
    """Return what the runs are expected to cost, from step times measured on one processor thread."""
    seconds, notes = 0.0, []
    for name in experiment_names(config.experiments, ctx.catalog):
        experiment = load_experiment(name, ctx.catalog, config.setting, config.changes())
        steps, each = steps_in_all(experiment), step_milliseconds(name)
        if each is None:
            notes.append(f"{name}: {steps} steps, time unknown")
            continue
        share = each / 1000 * steps * experiment.batch_size / (2048 if "resid" in name else 4096)
        notes.append(f"{name}: {steps} steps, about {share / 60:.1f} minutes on one thread")
        seconds += share
    return Cost(seconds=seconds or None, memory_bytes=800 * 2**20, download_bytes=0, notes=tuple(notes))
