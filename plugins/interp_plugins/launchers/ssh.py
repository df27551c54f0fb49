"""Machines reached by ssh: agents on hosts that see the launch folder and have the same Python environment."""

import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from interp_plugins.launchers.config import SshLauncherConfig
from interp_registry.contracts.launcher import Job, Launch, LauncherCapabilities, QueueState
from interp_registry.errors import InterpError, MissingDependencyError, UsageError
from interp_registry.task_numbers import format_numbers

__all__ = ["Ssh"]

_NO_FOLDER = 66


class Ssh:
    """Starts agents on the hosts in turn; what a task is, they read from the shared folder."""

    def __init__(self, config: SshLauncherConfig) -> None:
        self.config = config

    @property
    def capabilities(self) -> LauncherCapabilities:
        """The agents are a queue of a kind: tasks wait for a free one."""
        return LauncherCapabilities(queues=True, default_agents=len(self.config.hosts))

    def check(self, launch: Launch) -> None:  # noqa: ARG002 - contract
        """Refuse launches without hosts, or with host names that ssh could take for options."""
        if not self.config.hosts:
            raise UsageError("no hosts are given", "add --hosts node1,node2")
        for host in self.config.hosts:
            if host.startswith("-") or not host.isprintable() or any(c.isspace() for c in host):
                raise UsageError(f"{host!r} is no host name")

    def script(self, launch: Launch, tasks: Sequence[int]) -> str:
        """The command line that each host is given."""
        lines = [f"# on {host}: {n} agents\n" for host, n in self._share(launch, tasks)]
        return "".join(lines) + self._start_line(launch, tasks, 0, "ssh0") + "\n"

    def start(self, launch: Launch, tasks: Sequence[int], environment: Mapping[str, str]) -> list[Job]:  # noqa: ARG002 - hosts have their own
        """Start the agents; a host that does not see the launch folder is an error."""
        jobs: list[Job] = []
        places = [(host, slot) for host, n_agents in self._share(launch, tasks) for slot in range(n_agents)]
        try:
            for number, (host, slot) in enumerate(places):
                pid = self._start_agent(host, launch, self._start_line(launch, tasks, slot, f"ssh{number}"))
                jobs.append(Job(f"{host}:{pid}", tuple(tasks), host, {"pid": pid}))
        except InterpError:
            self.cancel(jobs)
            raise
        return jobs

    def _start_agent(self, host: str, launch: Launch, line: str) -> str:
        answer = self._on(host, line)
        pid = answer.stdout.strip()
        if answer.returncode == _NO_FOLDER:
            hint = "put the runs on a file system that all hosts share"
            raise UsageError(f"{host} does not see {launch.folder}", hint)
        if answer.returncode != 0 or not pid.isdigit():
            raise InterpError(f"ssh to {host} failed: {(answer.stderr or answer.stdout).strip()}")
        return pid

    def _share(self, launch: Launch, tasks: Sequence[int]) -> list[tuple[str, int]]:
        n_agents, n_hosts = min(launch.n_agents, len(tasks)), len(self.config.hosts)
        shares = [(host, n_agents // n_hosts + (k < n_agents % n_hosts)) for k, host in enumerate(self.config.hosts)]
        return [(host, n) for host, n in shares if n]

    def _start_line(self, launch: Launch, tasks: Sequence[int], slot: int, name: str) -> str:
        """Constant words, quoted for the remote shell: paths and numbers, never a task's arguments."""
        variables = {**launch.environment, "INTERP_AGENT": name}
        gpus = launch.resources.gpus
        if gpus:
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(str(k) for k in range(slot * gpus, (slot + 1) * gpus))
        words = [
            "env",
            *(f"{key}={value}" for key, value in sorted(variables.items())),
            *launch.agent_command,
            format_numbers(tasks),
        ]
        log = shlex.quote(str(launch.folder / "logs" / f"{name}.log"))
        there = f"test -r {shlex.quote(str(launch.folder / 'launch.json'))} || exit {_NO_FOLDER}"
        return f"{there}; nohup {shlex.join(words)} >> {log} 2>&1 < /dev/null & echo $!"

    def states(self, jobs: Sequence[Job]) -> dict[int, QueueState]:
        """Tasks wait or run while any agent lives; which of the two, their leases tell."""
        states: dict[int, QueueState] = {}
        for job in jobs:
            state = self._alive(job)
            for task in job.tasks:
                states[task] = state if state != "gone" else states.get(task, "gone")
        return states

    def _alive(self, job: Job) -> QueueState:
        answer = self._on(job.host, f"kill -0 {int(job.details['pid'])} 2>/dev/null && echo alive || echo gone")
        words = answer.stdout.split()
        return "unknown" if not words else "queued" if words[-1] == "alive" else "gone"

    def cancel(self, jobs: Sequence[Job], tasks: Iterable[int] | None = None) -> None:
        """End the agents; single tasks are not started once they are recorded as cancelled."""
        if tasks is None:
            for job in jobs:
                self._on(job.host, f"kill -TERM {int(job.details['pid'])} 2>/dev/null || true")

    def gpus_in_use(self) -> int:
        """Not known over all hosts; the cap is kept by the number of agents of each launch."""
        return 0

    def _on(self, host: str, line: str) -> "subprocess.CompletedProcess[str]":
        command = [*self.config.ssh, host, f"exec sh -c {shlex.quote(line)}"]
        try:
            return subprocess.run(  # noqa: S603 - ssh and a host; the line holds quoted constants
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=self.config.connect_seconds,
            )
        except FileNotFoundError:
            raise MissingDependencyError(f"{command[0]} is not on this machine", "install an ssh client") from None
        except subprocess.TimeoutExpired:
            raise InterpError(f"{host} did not answer in {self.config.connect_seconds:g} s") from None
