"""A pool of agents on this machine: ``python -m interp_plugins.launchers.local_pool SPEC``.

Keeps so many agents alive until all tasks have ended. An agent that is killed is replaced at once; when the pool itself is killed the
agents work on. With GPUs, an agent starts as soon as its GPUs are free.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from interp_plugins.launchers.gpu_locks import GpuLease, acquire

__all__ = ["Pool", "main"]

_log = logging.getLogger(__name__)

_GPU_WAIT_SECONDS = 1.0
_END_SECONDS = 40.0
_TERMINATED = 143


class Pool:
    """Agents and the GPUs that each holds.

    Args:
        command: Command of an agent.
        n_agents: How many run at a time.
        gpus: GPUs per agent.
        gpu_ids: GPUs to choose from.
        environment: Variables added to those of this process.
    """

    def __init__(
        self, command: Sequence[str], n_agents: int, gpus: int, gpu_ids: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self._command, self._gpus, self._gpu_ids = list(command), gpus, list(gpu_ids)
        self._environment = {**os.environ, **environment}
        self._vacant = list(range(n_agents))
        self._running: dict[int, tuple[subprocess.Popen[bytes], GpuLease | None]] = {}
        self._wake = threading.Event()
        self._stopping = False

    def stop(self, _signum: int = 0, _frame: FrameType | None = None) -> None:
        """Ask all agents to end; no new ones are started."""
        self._stopping = True
        self._wake.set()

    def run(self) -> int:
        """Keep the agents going; returns 0 when all work is done, 143 after :meth:`stop`."""
        while self._running or (self._vacant and not self._stopping):
            self._fill()
            self._wake.wait(_GPU_WAIT_SECONDS if self._vacant else None)
            self._wake.clear()
            self._collect()
            if self._stopping:
                self._end_all()
                return _TERMINATED
        return 0

    def _fill(self) -> None:
        for slot in list(self._vacant):
            lease = acquire(self._gpu_ids, self._gpus) if self._gpus else None
            if self._gpus and lease is None:
                return
            self._vacant.remove(slot)
            self._running[slot] = (self._start(slot, lease), lease)

    def _start(self, slot: int, lease: GpuLease | None) -> "subprocess.Popen[bytes]":
        environment = {**self._environment, "INTERP_AGENT": f"agent{slot}"}
        if lease is not None:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(lease.ids)
        agent = subprocess.Popen(  # noqa: S603 - the core's own command
            self._command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True,
            pass_fds=lease.descriptors if lease else (),
        )  # fmt: skip
        threading.Thread(target=self._wake_at_end, args=(agent,), daemon=True).start()
        return agent

    def _wake_at_end(self, agent: "subprocess.Popen[bytes]") -> None:
        agent.wait()
        self._wake.set()

    def _collect(self) -> None:
        for slot, (agent, lease) in list(self._running.items()):
            if agent.poll() is None:
                continue
            del self._running[slot]
            if lease is not None:
                lease.close()
            if agent.returncode < 0 or agent.returncode == _TERMINATED:
                _log.warning("agent %d ended with %d; another takes its place", slot, agent.returncode)
                self._vacant.append(slot)
            elif agent.returncode != 0:
                _log.warning("agent %d ended with exit code %d", slot, agent.returncode)

    def _end_all(self) -> None:
        deadline = time.monotonic() + _END_SECONDS
        for agent, _ in self._running.values():
            agent.terminate()
        for agent, _ in self._running.values():
            try:
                agent.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                agent.kill()


def main(arguments: Sequence[str]) -> int:
    """Read the specification and run the pool."""
    spec: dict[str, Any] = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    pool = Pool(spec["agent_command"], spec["n_agents"], spec["gpus"], spec["gpu_ids"], spec["environment"])
    signal.signal(signal.SIGTERM, pool.stop)
    signal.signal(signal.SIGINT, pool.stop)
    return pool.run()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s")
    sys.exit(main(sys.argv[1:]))
