"""SLURM: each launch is an array job, submitted and asked about with SLURM's own commands, without the accounting database."""

import contextlib
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp_plugins.launchers.config import SlurmLauncherConfig
from interp_plugins.launchers.slurm_script import OFFSET, array_range, batch_script, dependency
from interp_registry.contracts.launcher import Job, Launch, LauncherCapabilities, QueueState
from interp_registry.errors import InterpError, MissingDependencyError, UsageError
from interp_registry.task_numbers import parse_numbers

__all__ = ["Slurm", "gpus_asked_for"]

_QUEUED = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
_RUNNING = frozenset({"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "SIGNALING", "STAGE_OUT", "STOPPED"})
_DEFAULT_ARRAY_SIZE = 1001
_SECONDS = 60
_SLACK_SECONDS = 120
"""SLURM may send the signal up to a minute early, and a task needs time to start: a shorter limit requeues without end."""


class Slurm:
    """Starts tasks as elements of array jobs."""

    def __init__(self, config: SlurmLauncherConfig) -> None:
        self.config = config

    @property
    def capabilities(self) -> LauncherCapabilities:
        """A queue, a signal before the time limit, and tasks that can ask to be started again."""
        requeue = ("scontrol", "requeue", "${INTERP_JOB_ID}") if self.config.requeue else ()
        return LauncherCapabilities(
            queues=True, requeue_command=requeue, interrupt_seconds=self.config.signal_seconds, default_gpus=1
        )

    def check(self, launch: Launch) -> None:
        """Refuse time limits so short that SLURM would requeue the tasks without end."""
        minutes, least = launch.resources.minutes, self.config.signal_seconds + _SLACK_SECONDS
        if minutes is not None and minutes * 60 < least:
            raise UsageError(
                f"--time of {minutes} min is shorter than --signal-seconds {self.config.signal_seconds} plus {_SLACK_SECONDS} s",
                f"SLURM may send the signal a minute early and would requeue at once; give at least {-(-least // 60)} min",
            )
        batch_script(self.config, launch, range(launch.n_tasks))

    def script(self, launch: Launch, tasks: Sequence[int]) -> str:
        """The batch script."""
        return batch_script(self.config, launch, tasks)

    def start(self, launch: Launch, tasks: Sequence[int], environment: Mapping[str, str]) -> list[Job]:
        """Submit the tasks, in several arrays where the site's MaxArraySize asks for that; a later array waits for the one before."""
        size = (
            _max_array_size()
            if max(tasks) >= _DEFAULT_ARRAY_SIZE or len(tasks) >= _DEFAULT_ARRAY_SIZE
            else _DEFAULT_ARRAY_SIZE
        )
        chunks: dict[int, list[int]] = defaultdict(list)
        for task in tasks:
            chunks[task // size * size].append(task)
        jobs: list[Job] = []
        for offset, members in sorted(chunks.items()):
            after = f"afterany:{jobs[-1].id}" if jobs else None
            jobs.append(self._submit(launch, members, {**environment, OFFSET: str(offset)}, after))
        return jobs

    def _submit(self, launch: Launch, tasks: Sequence[int], environment: Mapping[str, str], after: str | None) -> Job:
        offset = int(environment[OFFSET])
        elements = [task - offset for task in tasks]
        wait = ",".join(words for words in (dependency(self.config), after) if words)
        options = [
            "--parsable",
            f"--array={array_range(launch, elements)}",
            *([f"--dependency={wait}"] if wait else []),
        ]
        answer = _ask(["sbatch", *options, str(launch.folder / "script.sh")], environment)
        number = answer.strip().split(";")[0]
        if not number.isdigit():
            raise InterpError(f"sbatch answered {answer.strip()!r} instead of a job number")
        self._make_logs(launch, number, elements)
        return Job(number, tuple(tasks), details={"offset": str(offset)})

    def _make_logs(self, launch: Launch, number: str, elements: Sequence[int]) -> None:
        """Empty logs and links to them, so that ``tail -f`` works at once."""
        links = Path(self.config.log_dir).expanduser()
        links.mkdir(parents=True, exist_ok=True)
        for element in elements:
            log = launch.folder / "logs" / f"{number}_{element}.out"
            log.touch()
            with contextlib.suppress(FileExistsError):
                (links / f"slurm-{number}_{element}.out").symlink_to(log)

    def states(self, jobs: Sequence[Job]) -> dict[int, QueueState]:
        """What ``squeue`` says; tasks that it does not list are gone."""
        try:
            rows = _squeue("%F|%K|%T", "--states=all", "-r")
        except InterpError:
            return {task: "unknown" for job in jobs for task in job.tasks}
        said = {(row[0], row[1]): row[2] for row in rows}
        states: dict[int, QueueState] = {}
        for job in jobs:
            offset = int(job.details.get("offset", 0))
            for task in job.tasks:
                states[task] = _state(said.get((job.id, str(task - offset)), ""))
        return states

    def cancel(self, jobs: Sequence[Job], tasks: Iterable[int] | None = None) -> None:
        """Cancel array elements, or whole arrays."""
        wanted = None if tasks is None else set(tasks)
        names: list[str] = []
        for job in jobs:
            offset = int(job.details.get("offset", 0))
            names += (
                [job.id] if wanted is None else [f"{job.id}_{task - offset}" for task in job.tasks if task in wanted]
            )
        for first in range(0, len(names), 500):
            _ask(["scancel", "--quiet", *names[first : first + 500]])

    def gpus_in_use(self) -> int:
        """GPUs that the user's jobs hold or wait for; of an array, only as many elements as may run at a time."""
        if shutil.which("squeue") is None or os.environ.get("SLURM_JOB_ID"):
            return 0
        return gpus_asked_for(_squeue("%F|%j|%K|%T|%b", "--states=RUNNING,CONFIGURING,PENDING"))


@dataclass
class _Use:
    elements: int = 0
    throttle: int | None = None
    gpus: int = 0


def gpus_asked_for(rows: Iterable[Sequence[str]]) -> int:
    """GPUs that queued and running jobs can hold at one time.

    Args:
        rows: (array job, name, element or elements with ``%throttle``, state, GPUs per node) as ``squeue`` prints them. Arrays of one
            launch have one name, run one after another and count once.
    """
    uses: dict[str, _Use] = defaultdict(_Use)
    for job, name, elements, _, gres in rows:
        use = uses[name if name.startswith("interp-") else job]
        numbers, _, throttle = elements.strip("[]").partition("%")
        use.elements += len(parse_numbers(numbers)) if re.fullmatch(r"[0-9,-]+", numbers) else 1
        if throttle.isdigit():
            use.throttle = max(use.throttle or 0, int(throttle))
        use.gpus = max(use.gpus, _gpus(gres))
    return sum(use.gpus * (use.elements if use.throttle is None else _bound(use)) for use in uses.values())


def _bound(use: _Use) -> int:
    return min(use.elements, use.throttle or use.elements)


def _gpus(gres: str) -> int:
    """Number in ``gres:gpu:2``, ``gres/gpu:a100:2``, ``gres:gpu``; 0 where there is no GPU."""
    found = re.search(r"gpu(?::[A-Za-z][\w.-]*)?(?:[:=](\d+))?", gres)
    return 0 if found is None else int(found[1] or 1)


def _state(said: str) -> QueueState:
    if said in _QUEUED:
        return "queued"
    return "running" if said in _RUNNING else "gone"


def _max_array_size() -> int:
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask(["scontrol", "show", "config"]), re.MULTILINE)
    return int(found[1]) if found else _DEFAULT_ARRAY_SIZE


def _squeue(columns: str, *options: str) -> list[list[str]]:
    """Rows of ``squeue`` for the user's own jobs; element lists are not shortened."""
    answer = _ask(
        ["squeue", "--me", "--noheader", *options, f"--format={columns}"], {**os.environ, "SLURM_BITSTR_LEN": "0"}
    )
    return [line.split("|") for line in answer.splitlines() if line.count("|") == columns.count("|")]


def _ask(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Output of one of SLURM's commands.

    Raises:
        MissingDependencyError: SLURM is not installed here.
        InterpError: The command failed or did not answer.
    """
    try:
        answer = subprocess.run(  # noqa: S603 - fixed program names, arguments as a list
            list(command), capture_output=True, text=True, check=False, timeout=_SECONDS, env=environment
        )
    except FileNotFoundError:
        raise MissingDependencyError(
            f"{command[0]} is not on this machine", "run this where SLURM is, or use `launch local`"
        ) from None
    except subprocess.TimeoutExpired:
        raise InterpError(
            f"{command[0]} did not answer in {_SECONDS} s", "is the SLURM controller up? try `sinfo`"
        ) from None
    if answer.returncode != 0:
        words = (answer.stderr or answer.stdout).strip()
        raise InterpError(f"{command[0]} failed: {words}", "the words are SLURM's own")
    return answer.stdout
