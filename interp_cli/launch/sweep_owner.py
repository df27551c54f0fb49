"""The owner of a sweep whose points depend on results: ``python -m interp_cli.launch.sweep_owner FOLDER``.

One process asks Optuna for points, starts them through the launcher as places become free, and tells what came of them. It keeps
nothing of its own: a later owner tells the recorded points again and goes on, so that it may be killed at any time.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp_cli.launch.folder import Ended, LaunchFolder, Task
from interp_cli.launch.leases import newest_lease
from interp_cli.launch.submit import open_launcher, start_tasks
from interp_cli.launch.sweep_file import Sweep, read_sweep
from interp_cli.launch.sweep_points import Point, Sampler, command_of, experiments_of, point_name
from interp_cli.launch.sweep_results import scalar_of
from interp_registry.discovery import discover
from interp_registry.process_identity import this_process

__all__ = ["main", "run_owner"]

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_LOST_SECONDS = 10.0


def run_owner(folder: LaunchFolder, poll_seconds: float = _POLL_SECONDS) -> None:
    """Choose, start and tell points until each experiment has had its number."""
    folder.own(this_process())
    description = folder.describe()
    sweep = read_sweep(folder.path / "sweep.yaml")
    for experiment in experiments_of(sweep, description["sweep"]["experiments"]):
        _Study(folder, description, sweep, experiment).run(poll_seconds)


class _Study:
    """The points of one experiment."""

    def __init__(self, folder: LaunchFolder, description: Mapping[str, Any], sweep: Sweep, experiment: str) -> None:
        self.folder, self.description, self.sweep, self.experiment = folder, description, sweep, experiment
        self.space = sweep.space(experiment)
        self.sampler = Sampler(sweep, self.space, salt=len(folder.tasks()))
        self.launcher, self.launch = open_launcher(description, folder)
        self.trials: dict[int, Any] = {}
        self.started: dict[int, float] = {}

    def run(self, poll_seconds: float) -> None:
        self._remember()
        n_points = self.sweep.settings.n_points
        while True:
            self._collect()
            asked = [task for task in self.folder.tasks() if task.experiment == self.experiment]
            while len(asked) < n_points and len(self.trials) < self.launch.n_agents:
                asked.append(self._ask())
            if not self.trials:
                return
            time.sleep(poll_seconds)

    def _remember(self) -> None:
        """Tell the points of an earlier owner; those that it left open are started again."""
        ended = self.folder.all_ended()
        for task in self.folder.tasks():
            if task.experiment != self.experiment:
                continue
            if task.i in ended:
                self.sampler.remember(task.params, self._value(ended[task.i]))
            else:
                self.trials[task.i] = None
                lease = newest_lease(self.folder.leases, task.i)
                if lease is None or lease.free():
                    self._start(task)

    def _ask(self) -> Task:
        trial, params = self.sampler.ask()
        point = Point(self.experiment, params, point_name(params))
        number = len(self.folder.tasks())
        words = command_of(self.description["command"], point)
        task = Task(number, words, f"{self.experiment} {point.name}".strip(), params, self.experiment)
        self.folder.append_tasks([task])
        self.trials[number] = trial
        self._start(task)
        return task

    def _start(self, task: Task) -> None:
        self.started[task.i] = time.monotonic()
        start_tasks(self.folder, self.launcher, self.launch, [task.i], self.description.get("pass_env", ()))

    def _collect(self) -> None:
        for number, trial in list(self.trials.items()):
            ended = self.folder.ended(number)
            if ended is None:
                self._start_if_lost(number)
                continue
            del self.trials[number]
            value = self._value(ended)
            if trial is None:
                self.sampler.remember(self.folder.tasks()[number].params, value)
            else:
                self.sampler.tell(trial, value)

    def _start_if_lost(self, number: int) -> None:
        """Start a point again whose processes were all killed."""
        if time.monotonic() - self.started.get(number, 0.0) < _LOST_SECONDS:
            return
        lease = newest_lease(self.folder.leases, number)
        self.started[number] = time.monotonic()
        jobs = [job for job in self.folder.jobs() if number in job.tasks]
        if (lease is None or lease.free()) and self.launcher.states(jobs[-1:]).get(number, "gone") == "gone":
            _log.warning("point %d was lost and is started again", number)
            self._start(self.folder.tasks()[number])

    def _value(self, ended: Ended) -> float | None:
        return scalar_of(ended, self.sweep.settings.metric) if ended.state == "done" else None


def main(arguments: list[str]) -> int:
    """Own the sweep in a launch folder until it is complete."""
    discover()
    run_owner(LaunchFolder(Path(arguments[0])), float(os.environ.get("INTERP_OWNER_POLL", _POLL_SECONDS)))
    return 0


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s")
    sys.exit(main(sys.argv[1:]))
