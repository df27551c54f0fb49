"""The training loop of every method: update, log, evaluate, checkpoint, stop early, go on exactly where it stopped.

What is trained is a :class:`Trainable`; the loop knows nothing else of it. A run that goes on from a checkpoint makes the same updates,
to the last bit on a CPU with the same number of threads, as one that was never interrupted, because

* a trainable takes its data and noise from generators derived from (seed, purpose, step), or keeps its generators in its state;
* torch's global generators are seeded anew for every step, for models with dropout;
* the state of optimisers and trainable is in the checkpoint.
"""

import logging
import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from interp_registry.contracts.tracker import GuardedTracker
from interp_registry.errors import InterruptedRunError, UsageError
from interp_registry.events import EventSink, NullSink
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.tensors.seeding import global_seed
from interp_registry.training.config import TrainingConfig
from interp_registry.training.finite import LossWatch, require_finite_weights, require_usable_rates

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.optim import Optimizer

    from interp_registry.contracts.method import RunContext
    from interp_registry.contracts.tracker import Tracker
    from interp_registry.figures import HeatMap

__all__ = [
    "AdjustsGradients",
    "Evaluates",
    "SharesBatches",
    "ShowsActivity",
    "Tools",
    "Trainable",
    "TrainingSummary",
    "train",
]

_LOG = logging.getLogger(__name__)
_PROGRESS = ("seed", "losses", "metrics", "best", "best_step", "waited")


class Trainable(Protocol):
    """What the loop drives."""

    def optimisers(self) -> "Mapping[str, Optimizer]":
        """The optimisers by name, always the same objects; the loop scales their rates by the schedule."""
        ...

    def step(self, i: int) -> Mapping[str, Tensor | float]:
        """The losses of batch ``i``, the entry "loss" being the one to minimise.

        The loop computes its gradient. A trainable that has computed the gradients itself returns it detached.
        With accumulation of ``n`` batches, update ``u`` uses batches ``n * u`` to ``n * u + n - 1``.
        """
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to hold: "weights" (tensors by name), and whatever else :meth:`load` needs."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` returned; optimisers are seen to by the loop."""
        ...


@runtime_checkable
class Evaluates(Protocol):
    """A trainable that can be evaluated."""

    def evaluate(self, step: int) -> Mapping[str, float]:
        """Values after ``step`` updates."""
        ...


@runtime_checkable
class AdjustsGradients(Protocol):
    """A trainable that does something between gradient and update, for example clips parts of it apart."""

    def before_update(self, step: int) -> Mapping[str, float]:
        """Change the gradients of update ``step`` in place; return values to log, e.g. norms."""
        ...


@runtime_checkable
class ShowsActivity(Protocol):
    """A trainable that has something to look at while it trains."""

    def activity(self) -> "HeatMap | None":
        """What dashboards show after the last step, e.g. how active each component is; asked for when losses are logged."""
        ...


@runtime_checkable
class SharesBatches(Protocol):
    """A trainable whose batches may be dealt out to several processes.

    The losses of a batch must depend on the weights and the batch's number only. Of an update's ``accumulate`` batches each process then
    takes its share, gradients are added up and losses averaged: the update is that of one process, up to the order of the sums. A
    trainable that computes gradients itself divides them by ``accumulate``, as always. One that has no such attribute, or says False,
    sees to several processes itself.
    """

    shares_batches: bool
    """Whether the loop deals out batches."""


@dataclass
class Tools:
    """What a training may use; nothing is required.

    Attributes:
        events: Where losses and progress go.
        tracker: An experiment tracker.
        checkpoints: Where to keep checkpoints; without, nothing is stored and nothing resumed.
        stop: Whether to stop at the next safe point.
        accelerator: accelerate's, for several processes; and for mixed precision and engines, where the trainable has prepared its
            models with it.
    """

    events: EventSink = field(default_factory=NullSink)
    tracker: "Tracker | None" = None
    checkpoints: CheckpointStore | None = None
    stop: Callable[[], bool] = lambda: False
    accelerator: "Accelerator | None" = None

    @classmethod
    def of(cls, ctx: "RunContext", config: TrainingConfig) -> "Tools":
        """The tools of a run: its events, tracker, checkpoints, stop signal and accelerator."""
        larger = config.monitor_mode == "max"
        store = CheckpointStore(ctx.run.checkpoints, config.keep_last, config.keep_best, larger)
        return cls(ctx.events, ctx.tracker, store, lambda: ctx.stopping, ctx.accelerator)


@dataclass(frozen=True)
class TrainingSummary:
    """How a training went.

    Attributes:
        steps: Updates in all, those before a resume included.
        losses: The last logged losses.
        metrics: The last evaluated values.
        best: The best monitored value, if there was one.
        best_step: After how many updates it was reached.
        stopped_early: Whether patience ended it.
    """

    steps: int
    losses: dict[str, float]
    metrics: dict[str, float]
    best: float | None
    best_step: int | None
    stopped_early: bool


def train(trainable: Trainable, config: TrainingConfig, seed: int, tools: Tools | None = None) -> TrainingSummary:
    """Train, going on from the latest checkpoint if there is one.

    Args:
        trainable: What to train.
        config: How long, and what to do meanwhile.
        seed: Seed of the run.
        tools: What may be used.

    Returns:
        Losses and metrics at the end.

    Raises:
        InterruptedRunError: A signal asked for a stop; a checkpoint was written.
        InterpError: A loss or a trained weight is not finite; no checkpoint holds it.
        UsageError: The checkpoint belongs to a training with another seed, or the monitored value is not evaluated.
        CorruptError: The latest checkpoint is not what was written.
    """
    return _Loop(trainable, config, seed, tools or Tools()).run()


class _Loop:
    def __init__(self, trainable: Trainable, config: TrainingConfig, seed: int, tools: Tools) -> None:
        self.trainable, self.config, self.seed, self.tools = trainable, config, seed, tools
        self.optimisers = dict(trainable.optimisers())
        require_usable_rates(self.optimisers.values())
        self.rates = {name: [group["lr"] for group in o.param_groups] for name, o in self.optimisers.items()}
        self.schedule = config.schedule.build(config.steps)
        self.step = 0
        self.watch = LossWatch()
        self.losses: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self.best: float | None = None
        self.best_step: int | None = None
        self.waited = 0
        self.saved_at: int | None = None
        self.evaluated_at: int | None = None
        accelerator = tools.accelerator
        self.prepared = accelerator if getattr(accelerator, "_models", None) else None
        """accelerate scales losses and calls engines of what it has prepared; where that is nothing, it would do so for nothing or fail"""
        self.rank = accelerator.process_index if accelerator is not None else 0
        shared = isinstance(trainable, SharesBatches) and trainable.shares_batches and accelerator is not None
        self.sharers = accelerator.num_processes if shared and accelerator is not None else 1
        if config.accumulate % self.sharers:
            raise UsageError(
                f"{config.accumulate} batches per update cannot be shared by {self.sharers} processes",
                f"set --training.accumulate to a multiple of {self.sharers}, with smaller batches for the same sum",
            )

    def run(self) -> TrainingSummary:
        self._resume()
        config = self.config
        while self.step < config.steps and not self._out_of_patience():
            losses = self._update()
            self.step += 1
            self.watch.note(self.step, losses)
            self._log(losses)
            if _due(self.step, config.evaluate_every, config.steps):
                self._evaluate()
            if config.checkpoint_every is not None and self.step % config.checkpoint_every == 0:
                self._save()
            if self.step < config.steps and self._asked_to_stop():
                self._save()
                raise InterruptedRunError(signal.SIGTERM, f"stopped after {self.step} of {config.steps} steps")
        self._save()
        early = self.step < config.steps
        return TrainingSummary(self.step, self.losses, self.metrics, self.best, self.best_step, early)

    def _update(self) -> dict[str, Tensor | float]:
        """One update of all optimisers; the mean losses of its batches."""
        factor = self.schedule(self.step)
        for name, optimiser in self.optimisers.items():
            optimiser.zero_grad(set_to_none=True)
            for group, rate in zip(optimiser.param_groups, self.rates[name], strict=True):
                group["lr"] = rate * factor
        first = self.step * self.config.accumulate + (self.rank if self.sharers > 1 else 0)
        batches = range(first, (self.step + 1) * self.config.accumulate, self.sharers)
        with global_seed(self.seed, "training step", self.step, self.rank):
            losses = self._together(_mean([self._backward(i) for i in batches]))
            if isinstance(self.trainable, AdjustsGradients):
                losses |= self.trainable.before_update(self.step)
            if self.config.clip_norm is not None:
                losses["grad_norm"] = self._clip(self.config.clip_norm)
            for optimiser in self.optimisers.values():
                optimiser.step()
        return losses

    def _backward(self, batch: int) -> dict[str, Tensor | float]:
        losses = dict(self.trainable.step(batch))
        loss = losses.get("loss")
        if isinstance(loss, Tensor) and loss.requires_grad:
            share = loss / self.config.accumulate
            if self.prepared is None:
                share.backward()
            else:
                self.prepared.backward(share)
        return {name: value.detach() if isinstance(value, Tensor) else value for name, value in losses.items()}

    def _together(self, losses: dict[str, Tensor | float]) -> dict[str, Tensor | float]:
        """Gradients added up, and losses averaged, over the processes that share an update's batches."""
        accelerator = self.tools.accelerator
        if self.sharers == 1 or accelerator is None:
            return losses
        for optimiser in self.optimisers.values():
            for parameter in (parameter for group in optimiser.param_groups for parameter in group["params"]):
                if parameter.grad is not None:
                    parameter.grad = cast("Tensor", accelerator.reduce(parameter.grad, reduction="sum"))
        values = [torch.as_tensor(value, dtype=torch.float32, device=accelerator.device) for value in losses.values()]
        means = cast("Tensor", accelerator.reduce(torch.stack(values), reduction="mean"))
        return dict(zip(losses, means, strict=True))

    def _clip(self, norm: float) -> Tensor:
        """Shorten the whole gradient to ``norm``; the norm it had."""
        groups = [group for optimiser in self.optimisers.values() for group in optimiser.param_groups]
        parameters = [parameter for group in groups for parameter in group["params"]]
        if self.prepared is None:
            return torch.nn.utils.clip_grad_norm_(parameters, norm)
        return cast("Tensor", self.prepared.clip_grad_norm_(parameters, norm))

    def _log(self, losses: Mapping[str, Tensor | float]) -> None:
        """Report losses now and then."""
        self.tools.events.progress("train", self.step, self.config.steps, "steps")
        if not _due(self.step, self.config.log_every, self.config.steps):
            return
        self.watch.look()
        self.losses = {name: float(value) for name, value in losses.items()}
        rates = {f"lr/{name}": optimiser.param_groups[0]["lr"] for name, optimiser in self.optimisers.items()}
        self._report({f"train/{name}": value for name, value in self.losses.items()} | rates)
        activity = self.trainable.activity() if isinstance(self.trainable, ShowsActivity) else None
        if activity is not None:
            self.tools.events.heat_map("live/activity", activity)

    def _report(self, values: Mapping[str, float]) -> None:
        tracker, events = self.tools.tracker, self.tools.events
        if not (isinstance(tracker, GuardedTracker) and tracker.writes_to(events)):
            for name, value in values.items():
                events.scalar(name, value, self.step)
        if tracker is not None:
            tracker.log(values, self.step)

    def _evaluate(self) -> None:
        if not isinstance(self.trainable, Evaluates):
            return
        self.watch.look()
        with global_seed(self.seed, "evaluation", self.step, self.rank), torch.no_grad():
            self.metrics = {name: float(value) for name, value in self.trainable.evaluate(self.step).items()}
        self.evaluated_at = self.step
        self._report({f"eval/{name}": value for name, value in self.metrics.items()})
        if self.config.monitor is not None:
            self._judge(self.config.monitor)

    def _judge(self, monitor: str) -> None:
        """Note whether the monitored value is the best so far."""
        if monitor not in self.metrics:
            known = ", ".join(sorted(self.metrics))
            raise UsageError(f"the monitored value {monitor!r} is not evaluated", f"evaluated are {known}")
        value = self.metrics[monitor]
        sign = -1.0 if self.config.monitor_mode == "max" else 1.0
        if not math.isnan(value) and (self.best is None or sign * value < sign * self.best):
            self.best, self.best_step, self.waited = value, self.step, 0
        else:
            self.waited += 1

    def _out_of_patience(self) -> bool:
        return self.config.patience is not None and self.waited >= self.config.patience

    def _asked_to_stop(self) -> bool:
        """Whether any process was asked to stop; all agree."""
        asked = self.tools.stop()
        accelerator = self.tools.accelerator
        if accelerator is None or accelerator.num_processes == 1:
            return asked
        votes = torch.tensor(float(asked), device=accelerator.device)
        return float(cast("Tensor", accelerator.reduce(votes, "sum"))) > 0

    def _save(self) -> None:
        """Check the weights and write a checkpoint of the present step, once; every process takes part, the main one writes."""
        if self.saved_at == self.step:
            return
        self.watch.look()
        require_finite_weights(self.optimisers.values(), self.step)
        if self.tools.checkpoints is None:
            return
        state = dict(self.trainable.state())
        weights = state.pop("weights", {})
        accelerator = self.tools.accelerator
        if accelerator is None or accelerator.is_main_process:
            progress = {name: getattr(self, name) for name in _PROGRESS}
            optimisers = {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}
            content = {"trainable": state, "optimisers": optimisers, "progress": progress}
            self.tools.checkpoints.save(self.step, weights, content, self._monitored())
        if accelerator is not None:
            accelerator.wait_for_everyone()
        self.saved_at = self.step

    def _monitored(self) -> float | None:
        """The monitored value of the present step, if it was evaluated here."""
        if self.config.monitor is None or self.evaluated_at != self.step:
            return None
        return self.metrics[self.config.monitor]

    def _resume(self) -> None:
        """Go back to the latest checkpoint, if there is one."""
        store = self.tools.checkpoints
        if store is None or (latest := store.latest()) is None:
            return
        content = latest.state()
        progress = content["progress"]
        if progress["seed"] != self.seed:
            raise UsageError(
                f"{latest.path} was trained with seed {progress['seed']}, this run has seed {self.seed}",
                "use the same --seed, or another run",
            )
        self.trainable.load({**content["trainable"], "weights": latest.weights()})
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(content["optimisers"][name])
        self.losses, self.metrics = progress["losses"], progress["metrics"]
        self.best, self.best_step, self.waited = progress["best"], progress["best_step"], progress["waited"]
        self.step = self.saved_at = latest.step
        _LOG.info("going on from %s", latest.path)


def _due(step: int, every: int | None, last: int) -> bool:
    """Whether something that happens every so many steps, and at the end, happens after ``step`` updates."""
    return step == last or (every is not None and step % every == 0)


def _mean(batches: list[dict[str, Tensor | float]]) -> dict[str, Tensor | float]:
    """The mean of each loss over batches; of one batch, its losses."""
    if len(batches) == 1:
        return batches[0]
    return {name: sum(batch[name] for batch in batches) / len(batches) for name in batches[0]}
