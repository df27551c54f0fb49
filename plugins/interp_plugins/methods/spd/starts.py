"""Several starts of one decomposition, of which the best goes on, as k-means does it.

A decomposition of a toy can end in another minimum, where one component serves two features; its loss is higher. So several
are begun, each from a seed of its own, and after some steps the one with the least loss goes on to the end. Nothing but the
training loss enters the choice.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_registry.events import Event, EventSink, Progress, Scalar
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.stores.records import read_record, replace_record
from interp_registry.tensors.seeding import derive_seed
from interp_registry.training.config import TrainingConfig
from interp_registry.training.loop import Tools, train

if TYPE_CHECKING:
    from interp_plugins.methods.spd.training import DecompositionTraining

__all__ = ["N_BATCHES", "Named", "Starts", "best_start", "kept_checkpoints", "start_seed"]

_RECORD = "starts.json"
N_BATCHES = 8
"""Batches on which starts are judged."""


@dataclass(frozen=True)
class Starts:
    """What became of the starts.

    Attributes:
        taken: Number of the one that went on.
        seed: Its seed.
        losses: Loss of each when the choice was made; empty where there was one start only.
    """

    taken: int
    seed: int
    losses: tuple[float, ...] = ()


def start_seed(seed: int, number: int) -> int:
    """Return the seed of a start; the first has the run's own."""
    return seed if number == 0 else derive_seed(seed, "spd start", number)


@contextmanager
def kept_checkpoints(tools: Tools) -> Iterator[Tools]:
    """Give tools without a store of checkpoints a temporary one: a start goes on from a checkpoint."""
    if tools.checkpoints is not None:
        yield tools
        return
    with tempfile.TemporaryDirectory() as folder:
        yield replace(tools, checkpoints=CheckpointStore(Path(folder)))


def best_start(
    begin: "Callable[[int], DecompositionTraining]", n: int, settings: TrainingConfig, tools: Tools
) -> Starts:
    """Train every start for the steps of ``settings`` and hand the best one's checkpoint to the store of ``tools``.

    Where the store holds a checkpoint the choice was made before, and is only read.

    Args:
        begin: Number of a start -> its training.
        n: Number of starts.
        settings: How long, and what to do meanwhile.
        tools: With a store of checkpoints.
    """
    store = tools.checkpoints
    assert store is not None  # noqa: S101 - a type narrowing
    if store.latest() is not None:
        found = read_record(store.folder / _RECORD)
        return Starts(found["taken"], int(found["seed"]), tuple(found["losses"]))
    trainings: list[DecompositionTraining] = []
    for number in range(n):
        training: Any = begin(number)  # its optimiser has the interface, not the class, of a torch one
        apart = replace(
            tools,
            events=Named(tools.events, f"start-{number}"),
            tracker=None,
            checkpoints=CheckpointStore(_folder(store, number)),
        )
        train(training, settings, training.seed, apart)
        trainings.append(training)
    losses = [_loss(training, trainings[0].seed) for training in trainings]
    taken = losses.index(min(losses))
    seed = trainings[taken].seed
    if tools.accelerator is None or tools.accelerator.is_main_process:
        replace_record(store.folder / _RECORD, {"taken": taken, "seed": str(seed), "losses": losses})
        latest = CheckpointStore(_folder(store, taken)).latest()
        assert latest is not None  # noqa: S101 - the loop ends with a checkpoint
        store.save(latest.step, latest.weights(), latest.state())
        for number in range(n):
            shutil.rmtree(_folder(store, number))
    if tools.accelerator is not None:
        tools.accelerator.wait_for_everyone()
    return Starts(taken, seed, tuple(losses))


def _folder(store: CheckpointStore, number: int) -> Path:
    return store.folder / f"start-{number}"


def _loss(training: "DecompositionTraining", seed: int) -> float:
    """Return the mean loss over batches that no training sees, the same for every start."""
    fresh = type(training)(training.model, training.config, training.batches, seed, share=training.share)
    steps = training.config.steps * training.config.accumulate
    return sum(float(fresh.step(steps + i)["loss"].detach()) for i in range(N_BATCHES)) / N_BATCHES


class Named(EventSink):
    """Puts the name of a start before the names of what it reports."""

    def __init__(self, sink: EventSink, name: str) -> None:
        self._sink, self._name = sink, name

    def emit(self, event: Event) -> None:
        """Rename the event and hand it on."""
        if isinstance(event, Scalar):
            event = replace(event, name=f"{self._name}/{event.name}")
        elif isinstance(event, Progress):
            event = replace(event, task=f"{self._name} {event.task}")
        self._sink.emit(event)

    def progress(self, task: str, done: float, total: float | None = None, unit: str = "") -> None:
        """Hand the report on under the name of the start, so that each sink may thin it."""
        self._sink.progress(f"{self._name} {task}", done, total, unit)
