"""Train decompositions: one (of several starts the best goes on), or several of one target side by side."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.spd.batched import BatchedTraining, Point
from interp_plugins.methods.spd.config import DecomposeConfig
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.inputs import Problem
from interp_plugins.methods.spd.processes import Share
from interp_plugins.methods.spd.starts import N_BATCHES, Named, Starts, best_start, kept_checkpoints, start_seed
from interp_plugins.methods.spd.training import DecompositionTraining
from interp_plugins.methods.spd.warmup import begin_decomposition
from interp_registry.errors import InterpError
from interp_registry.events import EventSink
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.training.config import TrainingConfig
from interp_registry.training.loop import Tools, TrainingSummary, train
from interp_registry.training.schedules import ScheduleConfig, parse_duration

__all__ = ["Trained", "decompose", "decompose_together", "training_config"]


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
    fresh = tools.checkpoints is None or tools.checkpoints.latest() is None
    model = begin_decomposition(config, problem, seed, warm_up=fresh)
    accelerator = tools.accelerator
    share = Share() if accelerator is None else Share(accelerator.process_index, accelerator.num_processes)
    return DecompositionTraining(model, config, problem.batches, seed, share=share)


def decompose_together(
    config: DecomposeConfig,
    problem: Problem,
    points: Sequence[Point],
    tools: Tools | None = None,
    events_of: Callable[[BatchedTraining], EventSink] | None = None,
) -> list[Trained]:
    """Train several decompositions of one toy target side by side, each as it would be trained alone, up to rounding.

    With several starts, the starts of all of them are trained side by side first.

    Args:
        config: What they have in common.
        problem: Target and data.
        points: What each has for itself.
        tools: Events, stop signal and so on; single starts go on from its checkpoints, several starts begin anew.
        events_of: Where the losses of the training go, in place of the events of the tools.
    """
    tools = tools or Tools()
    if config.starts.n > 1:
        tools = replace(tools, checkpoints=None)
    settings = training_config(config)
    with kept_checkpoints(tools) as kept:
        starts = [Starts(0, point.seed) for point in points]
        if config.starts.n > 1:
            short = replace(settings, steps=min(settings.steps, config.starts.steps))
            starts = _best_starts(config, problem, points, short, kept)
        chosen = [replace(point, seed=start.seed) for point, start in zip(points, starts, strict=True)]
        training: Any = BatchedTraining(config, problem, chosen)
        events = tools.events if events_of is None else events_of(training)
        with _diverged_named(training):
            summary = train(training, settings, points[0].seed, replace(kept, events=events))
    own = [{label: float(values[i]) for label, values in training.each.items()} for i in range(len(points))]
    return [
        Trained(model, problem, replace(summary, losses=losses or summary.losses), start)
        for model, losses, start in zip(training.separate(), own, starts, strict=True)
    ]


@contextmanager
def _diverged_named(training: BatchedTraining) -> Iterator[None]:
    """Say which of several runs diverged: without them the others can go on."""
    try:
        yield
    except InterpError as err:
        last = training.each.get("loss", torch.zeros(len(training.points)))
        lost = [point for point, loss in zip(training.points, last.tolist(), strict=True) if not math.isfinite(loss)]
        if type(err) is not InterpError or not lost:
            raise
        names = ", ".join(f"seed {p.seed}" + (f" at {p.rate:g} times the rate" if p.rate != 1 else "") for p in lost)
        raise InterpError(
            f"{err.message}, in {names}", "run the others without it, or with a smaller learning rate"
        ) from err


def _best_starts(
    config: DecomposeConfig, problem: Problem, points: Sequence[Point], short: TrainingConfig, tools: Tools
) -> list[Starts]:
    """Train all starts of all points side by side; hand a checkpoint of the best of each to the store of ``tools``."""
    store, n = tools.checkpoints, config.starts.n
    assert store is not None  # noqa: S101 - a type narrowing
    all_starts = [replace(point, seed=start_seed(point.seed, k)) for point in points for k in range(n)]
    training: Any = BatchedTraining(config, problem, all_starts)
    apart = CheckpointStore(store.folder / "starts")
    quietly = replace(tools, events=Named(tools.events, "starts"), tracker=None, checkpoints=apart)
    with _diverged_named(training):
        train(training, short, points[0].seed, quietly)
    losses = training.judge([point.seed for point in points for _ in range(n)], N_BATCHES).view(-1, n)
    taken = losses.argmin(1)
    latest = apart.latest()
    assert latest is not None  # noqa: S101 - the loop ends with a checkpoint
    rows = torch.arange(len(points)) * n + taken.cpu()
    store.save(latest.step, _rows(latest.weights(), rows), _rows(latest.state(), rows))
    return [
        Starts(int(k), start_seed(point.seed, int(k)), tuple(row.tolist()))
        for point, k, row in zip(points, taken, losses, strict=True)
    ]


def _rows(state: Any, rows: Tensor) -> Any:
    """Return a checkpoint's content with these runs of every tensor that has any."""
    if isinstance(state, dict):
        return {key: _rows(value, rows) for key, value in state.items()}
    if isinstance(state, list):
        return [_rows(value, rows) for value in state]
    return state[rows] if isinstance(state, Tensor) and state.dim() else state
