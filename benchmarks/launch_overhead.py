"""How long it takes to launch 100 tasks: folder, code snapshot, submission.

Run it inside any repository::

    python benchmarks/launch_overhead.py [--launcher slurm|print] [--tasks 100] [--repeats 5]

Python's own start-up is left out. On SLURM the tasks are cancelled again at once. Goal: folder and submission in under 0.5 s.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from interp_cli.launch import submit as submitting
from interp_cli.launch.folder import Task
from interp_cli.launch.options import launcher_config
from interp_cli.launch.snapshot import repository_of
from interp_cli.launch.status import cancel
from interp_cli.launch.submit import LaunchRequest, submit
from interp_registry.discovery import discover


def measure(request: LaunchRequest) -> tuple[float, float]:
    """Seconds for folder and submission, and for the snapshot."""
    spent = [0.0]
    freeze = submitting._freeze_code

    def timed(*arguments):
        start = time.perf_counter()
        try:
            return freeze(*arguments)
        finally:
            spent[0] = time.perf_counter() - start

    submitting._freeze_code = timed
    try:
        start = time.perf_counter()
        done = submit(request)
        whole = time.perf_counter() - start
    finally:
        submitting._freeze_code = freeze
    cancel(done.folder)
    return whole - spent[0], spent[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launcher", default="print")
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    discover()
    tasks = [Task(i, ("catalog", "show", "modelsets", f"m{i}"), f"m{i}") for i in range(options.tasks)]
    with tempfile.TemporaryDirectory() as scratch:
        config = launcher_config(options.launcher, {"log_dir": Path(scratch) / "links"})
        request = LaunchRequest(config, tasks, Path(scratch) / "launches", gpus=0, n_agents=4)
        rows = [
            measure(replace(request, snapshot=repository_of(Path.cwd()) is not None)) for _ in range(options.repeats)
        ]
    handed, frozen = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"{options.tasks} tasks through {options.launcher}, median of {options.repeats}:")
    print(f"  folder and submission {handed:.3f} s (goal: under 0.5 s)")
    print(f"  code snapshot         {frozen:.3f} s")


if __name__ == "__main__":
    main()
