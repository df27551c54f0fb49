"""The launcher that starts nothing: one command line per task, for any other queue."""

import shlex
from collections.abc import Iterable, Mapping, Sequence

from interp_plugins.launchers.config import PrintLauncherConfig
from interp_registry.contracts.launcher import Job, Launch, LauncherCapabilities, QueueState

__all__ = ["Print"]


class Print:
    """Writes the commands; whoever runs them gets leases, logs, states and retry as with any launcher."""

    def __init__(self, config: PrintLauncherConfig) -> None:
        self.config = config

    @property
    def capabilities(self) -> LauncherCapabilities:
        """It has no queue and starts nothing."""
        return LauncherCapabilities(starts=False)

    def check(self, launch: Launch) -> None:
        """Everything can be written down."""

    def script(self, launch: Launch, tasks: Sequence[int]) -> str:
        """One line per task, quoted for a POSIX shell."""
        words = [f"{key}={shlex.quote(value)}" for key, value in sorted(launch.environment.items())]
        prefix = " ".join(
            ["env", *words, shlex.join(launch.task_command)] if words else [shlex.join(launch.task_command)]
        )
        return "".join(f"{prefix} {task}\n" for task in tasks)

    def start(self, launch: Launch, tasks: Sequence[int], environment: Mapping[str, str]) -> list[Job]:  # noqa: ARG002 - contract
        """Start nothing."""
        return []

    def states(self, jobs: Sequence[Job]) -> dict[int, QueueState]:  # noqa: ARG002 - contract
        """Nothing is known."""
        return {}

    def cancel(self, jobs: Sequence[Job], tasks: Iterable[int] | None = None) -> None:
        """There is nothing to cancel here."""

    def gpus_in_use(self) -> int:
        """None through this launcher."""
        return 0
