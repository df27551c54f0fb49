"""What a running stage is given; every member is made when it is first touched."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_cli.options import StageOptions
from interp_registry.catalog import Catalog
from interp_registry.discovery import discover
from interp_registry.events import EventSink
from interp_registry.stores.home import Layout
from interp_registry.stores.run import Run

if TYPE_CHECKING:
    from accelerate import Accelerator

    from interp_registry.contracts.tracker import GuardedTracker
    from interp_registry.stores.activations import ActivationStore
    from interp_registry.stores.features import FeatureStore

__all__ = ["Context", "Processes", "best_device"]

_HASTE_SECONDS = 5.0


@dataclass(frozen=True)
class Processes:
    """The processes that share this work.

    Attributes:
        rank: Number of this one; 0 is the main one.
        world: How many there are.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def from_environment(cls) -> "Processes":
        """As torchrun, accelerate and srun say it."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's own files."""
        return self.rank == 0


def best_device(asked: str | None) -> str:
    """The device to compute on: what was asked for, else the user's setting, else the best one present."""
    from interp_registry.user_config import user_config

    wanted = asked or user_config().device
    if wanted:
        return wanted
    import torch

    if torch.cuda.is_available():
        local = os.environ.get("LOCAL_RANK")
        return f"cuda:{local}" if local else "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class Context:
    """A `interp_registry.contracts.method.RunContext` of the shell.

    Args:
        run: The run's folder.
        options: The shell's own options.
        layout: Where stores, runs and caches lie.
        sink: Where events go.
        stop: Asks whether a signal came.
        start_child: Runs another stage as a child of this run.
    """

    def __init__(
        self,
        run: Run,
        options: StageOptions,
        layout: Layout,
        sink: EventSink,
        stop: Callable[[], bool],
        start_child: "Callable[[Context, str, Any], Run]",
    ) -> None:
        self.run = run
        self.options = options
        self.layout = layout
        self.events = sink
        self._stop = stop
        self._start_child = start_child

    @property
    def seed(self) -> int:
        """Seed of the whole run."""
        return self.options.seed

    @cached_property
    def device(self) -> str:
        """Device to compute on."""
        return best_device(self.options.device)

    @cached_property
    def offline(self) -> bool:
        """Whether the network may not be used."""
        from interp_registry.user_config import user_config

        return self.options.offline or user_config().offline or os.environ.get("HF_HUB_OFFLINE") == "1"

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's artifacts."""
        return Processes.from_environment().is_main

    @cached_property
    def accelerator(self) -> "Accelerator":
        """Accelerate's Accelerator; the CPU is forced when that is the device."""
        from accelerate import Accelerator

        from interp_cli.processes import check_count

        accelerator = Accelerator(cpu=self.device == "cpu")
        check_count(self.options.num_processes, accelerator.num_processes)
        return accelerator

    @cached_property
    def features(self) -> "FeatureStore":
        """Store of pooled features."""
        from interp_registry.stores.features import FeatureStore

        return FeatureStore(self.layout.store)

    @cached_property
    def activations(self) -> "ActivationStore":
        """Store of token-level activations."""
        from interp_registry.stores.activations import ActivationStore

        return ActivationStore(self.layout.store)

    @cached_property
    def tracker(self) -> "GuardedTracker":
        """The trackers that the user chose, behind a guard: one that fails is reported once and left out."""
        from interp_cli.tracking import start_tracker

        return start_tracker(self)

    @cached_property
    def catalog(self) -> Catalog:
        """Named sets."""
        from interp_cli.paths import catalog

        return catalog(discover())

    @property
    def cache(self) -> Path:
        """Folder for what can be made again."""
        return self.layout.cache

    @property
    def stopping(self) -> bool:
        """Whether a signal asked the run to stop; a stage that asks is given the time to end by itself."""
        return self._stop()

    def run_stage(self, name: str, config: Any) -> Run:
        """Run another stage as a child run in the same store."""
        return self._start_child(self, name, config)

    def close(self, in_haste: bool = False) -> None:
        """Close what was made.

        Args:
            in_haste: Whether a signal came: a tracker that hangs must not keep the process.
        """
        if "tracker" in self.__dict__:
            if in_haste:
                self.tracker.patience = min(self.tracker.patience, _HASTE_SECONDS)
            self.tracker.close()
