"""This machine: a pool of agents that live on when the terminal is closed, each with GPUs of its own."""

import json
import os
import secrets
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from interp_plugins.launchers.config import LocalLauncherConfig
from interp_plugins.launchers.gpu_locks import gpu_ids, gpus_locked
from interp_registry.contracts.launcher import Job, Launch, LauncherCapabilities, QueueState
from interp_registry.errors import UsageError
from interp_registry.process_identity import ProcessId, start_detached
from interp_registry.task_numbers import format_numbers

__all__ = ["Local"]


class Local:
    """Starts a pool (`interp_plugins.launchers.local_pool`) per call."""

    def __init__(self, config: LocalLauncherConfig) -> None:
        self.config = config

    @property
    def capabilities(self) -> LauncherCapabilities:
        """The pool is a queue of a kind: tasks wait for a free agent."""
        return LauncherCapabilities(
            queues=True, default_agents=1, default_gpus=min(1, len(self.config.gpu_ids or gpu_ids()))
        )

    def check(self, launch: Launch) -> None:
        """Refuse more GPUs per task than this machine has."""
        wanted, there = launch.resources.gpus, len(self.config.gpu_ids or gpu_ids())
        if wanted > there:
            raise UsageError(
                f"each task asks for {wanted} GPUs, this machine has {there}", "use --cpu, or fewer --gpus"
            )

    def script(self, launch: Launch, tasks: Sequence[int]) -> str:
        """What the pool will run, for ``--dry-run``."""
        return (
            f"# {min(launch.n_agents, len(tasks))} agents on this machine, {launch.resources.gpus} GPUs each, "
            f"for tasks {format_numbers(tasks)}; each runs\n{' '.join(launch.agent_command)}\n"
        )

    def start(self, launch: Launch, tasks: Sequence[int], environment: Mapping[str, str]) -> list[Job]:
        """Start a pool in a session of its own."""
        name = f"local-{secrets.token_hex(3)}"
        spec = {
            "agent_command": [*launch.agent_command, format_numbers(tasks)],
            "n_agents": min(launch.n_agents, len(tasks)),
            "gpus": launch.resources.gpus,
            "gpu_ids": self.config.gpu_ids or gpu_ids(),
            "environment": dict(launch.environment),
        }
        spec_path = launch.folder / f"{name}.json"
        spec_path.write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
        pool = start_detached(
            [sys.executable, "-P", "-m", "interp_plugins.launchers.local_pool", str(spec_path)],
            launch.folder / "logs" / f"{name}.log",
            {**environment, **launch.environment},
        )
        identity = {key: str(value) for key, value in asdict(pool).items()}
        return [Job(name, tuple(tasks), identity["host"], identity)]

    def states(self, jobs: Sequence[Job]) -> dict[int, QueueState]:
        """Tasks of a living pool wait or run; which of the two, their leases tell."""
        states: dict[int, QueueState] = {}
        for job in jobs:
            pool = _pool(job)
            state: QueueState = "unknown" if not pool.here() else "gone" if pool.known_dead() else "queued"
            states.update(dict.fromkeys(job.tasks, state))
        return states

    def cancel(self, jobs: Sequence[Job], tasks: Iterable[int] | None = None) -> None:
        """End whole pools; single tasks end when their own processes are told to."""
        if tasks is not None:
            return
        for job in jobs:
            pool = _pool(job)
            if pool.here() and not pool.known_dead():
                os.kill(pool.pid, signal.SIGTERM)

    def gpus_in_use(self) -> int:
        """GPUs of this machine that the user's agents hold."""
        return gpus_locked()


def _pool(job: Job) -> ProcessId:
    detail = job.details
    return ProcessId(detail.get("host", ""), detail.get("boot", ""), int(detail.get("pid", 0)), detail.get("start", ""))
