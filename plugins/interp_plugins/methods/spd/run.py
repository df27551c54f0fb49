"""``interp spd run``: target, components, training, metrics."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.spd.batched import Point
from interp_plugins.methods.spd.config import DecomposeConfig, RunConfig, StartsConfig
from interp_plugins.methods.spd.decompose import Trained, decompose, decompose_together, training_config
from interp_plugins.methods.spd.evaluation import Evaluation, Measured, measure
from interp_plugins.methods.spd.experiments import experiment_names, load_experiment
from interp_plugins.methods.spd.inputs import Problem, load_problem
from interp_plugins.methods.spd.training import export_weights
from interp_registry.config_io import encode
from interp_registry.contracts.method import Cost, Failure, Result, RunContext
from interp_registry.errors import InterpError, PartialFailureError, UsageError
from interp_registry.figures import Table
from interp_registry.stores.artifact import replace as replace_file
from interp_registry.stores.records import replace_record
from interp_registry.stores.shards import write_shard
from interp_registry.training.loop import Tools

__all__ = ["estimate", "result_of", "run", "step_milliseconds", "steps_in_all", "tools_of"]


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
    trained = decompose(experiment, problem, ctx.seed, tools_of(experiment, ctx))
    return result_of(trained, experiment, name, ctx, time.process_time())


def result_of(trained: Trained, experiment: DecomposeConfig, name: str, ctx: RunContext, cpu_seconds: float) -> Result:
    """Evaluate and store a decomposition."""
    found = evaluate(trained, experiment, ctx.seed)
    metrics = {**found.scalars, **{label: v for label, v in trained.summary.losses.items() if label != "loss"}}
    metrics["loss"] = trained.summary.losses.get("loss", float("nan"))
    folder = _store(trained, experiment, name, ctx)
    head = ("mmcs_mean", "ml2r_mean", "identity_ci_error", "ci_l0", "faithfulness", "loss")
    scalars: dict[str, Any] = {key: metrics[key] for key in head if key in metrics}
    details: dict[str, Any] = {
        "experiment": name,
        "metrics": metrics,
        "target": trained.problem.record,
        "steps": trained.summary.steps,
    }
    details["cpu_seconds"] = round(cpu_seconds, 1)
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
    experiment = replace(experiment, starts=StartsConfig())
    together = decompose_together(experiment, problem, [Point(seed) for seed in seeds], tools_of(experiment, ctx))
    result, rows = Result(), []
    for seed, trained in zip(seeds, together, strict=True):
        found = evaluate(trained, experiment, seed).scalars
        rows.append({"seed": seed, **found})
        result.artifacts.append(_store(trained, experiment, name, ctx, f"decomposition-seed-{seed}"))
    shared = [key for key in ("mmcs_mean", "ml2r_mean", "identity_ci_error", "ci_l0") if key in rows[0]]
    result.scalars = {"n_decompositions": len(rows)}
    result.tables.append(Table.of_records([{key: row[key] for key in ("seed", *shared)} for row in rows], title=name))
    result.data = {"experiment": name, "seeds": {str(row["seed"]): row for row in rows}, "target": problem.record}
    return result


def tools_of(config: DecomposeConfig, ctx: RunContext) -> Tools:
    """Return what a run's training may use."""
    return Tools.of(ctx, training_config(config))


def evaluate(trained: Trained, config: DecomposeConfig, seed: int) -> Measured:
    """Return what the configured metrics find."""
    evaluation = Evaluation(trained.model, config, trained.problem.evaluation_batches, seed, trained.problem.n_features)
    return measure(evaluation)


def _store(
    trained: Trained, config: DecomposeConfig, name: str, ctx: RunContext, folder: str = "decomposition"
) -> Path:
    """Write the components, the target and what is needed to load them again, in the main process; all give the folder back."""
    file = ctx.run.artifact(f"{folder}/components.safetensors")
    if not ctx.is_main:
        return file.parent
    weights: dict[str, Tensor] = export_weights(trained.model)
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
