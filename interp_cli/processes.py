"""``--num-processes N``: run the same command again in N processes of this machine that share the work.

``accelerate launch --cpu --num_processes 2`` runs one process without saying so, so the processes are started through torch's own
elastic launcher, and their number is checked. Under torchrun, ``accelerate launch`` or srun nothing is started: their processes are
taken as they are.
"""

import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, MutableMapping, Sequence

from interp_registry.errors import InterpError, UsageError
from interp_registry.process_identity import die_with_parent

__all__ = ["adopt_srun", "check_count", "enter", "is_child", "run_again"]

_CHILD, _PARENT = "INTERP_CHILD", "INTERP_PARENT"
_MAX_PROCESSES = 1024
_FIRST_PORT, _PORTS = 15000, 20000


def is_child(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is one of several that were started to share the work."""
    return environment.get(_CHILD) == "1" or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= environment.keys()


def enter() -> None:
    """Prepare one of several processes: take srun's numbers, and end when the process that started this one is killed."""
    adopt_srun(os.environ)
    if os.environ.get(_CHILD) == "1" and os.environ.get(_PARENT, "").isdigit():
        die_with_parent(int(os.environ[_PARENT]))


def adopt_srun(environment: MutableMapping[str, str]) -> None:
    """Say in torch's variables what srun says in its own, when srun started several processes."""
    if environment.get("SLURM_STEP_NUM_TASKS", "1") == "1" or "RANK" in environment:
        return
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["WORLD_SIZE"] = environment["SLURM_STEP_NUM_TASKS"]
    environment["LOCAL_RANK"] = environment["SLURM_LOCALID"]
    environment.setdefault("MASTER_ADDR", _first_host(environment.get("SLURM_STEP_NODELIST", "localhost")))
    step = int(environment.get("SLURM_JOB_ID", "0")) * 7 + int(environment.get("SLURM_STEP_ID", "0"))
    environment.setdefault("MASTER_PORT", str(_FIRST_PORT + step % _PORTS))


def _first_host(nodes: str) -> str:
    if "[" not in nodes:
        return nodes.split(",", maxsplit=1)[0]
    answer = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return answer.stdout.split()[0] if answer.returncode == 0 and answer.stdout.split() else nodes


def check_count(asked: int, started: int) -> None:
    """Refuse to go on with another number of processes than was asked for.

    Raises:
        InterpError: The numbers differ.
    """
    if asked > 1 and started != asked:
        raise InterpError(
            f"--num-processes {asked} was asked for, but {started} run",
            "leave the option out under torchrun, accelerate launch and srun, or start as many there",
        )


def run_again(n_processes: int, device: str | None = None, argv: Sequence[str] | None = None) -> int:
    """Run a command line of this tool in several processes and wait for them.

    When one fails, the others are stopped, and its exit code is returned.

    Args:
        n_processes: How many.
        device: Device that was asked for; the CPU is forced when that is it, or when there is no GPU.
        argv: The words after ``interp``; those of this process by default.

    Returns:
        The exit code of the process that failed first; 0 when all succeeded; 128 + signal when a signal ended them.

    Raises:
        UsageError: There are fewer GPUs than processes, or the number is out of range.
    """
    if not 1 < n_processes <= _MAX_PROCESSES:
        raise UsageError(f"--num-processes {n_processes} is not between 1 and {_MAX_PROCESSES}")
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    os.environ.update(_environment(n_processes, device))
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=n_processes, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", local_addr="localhost", max_restarts=0, monitor_interval=0.1,
    )  # fmt: skip
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        elastic_launch(config, sys.executable)("-P", "-m", "interp_cli", *words)
    except ChildFailedError as err:
        return _first_failure(err, n_processes)
    except SignalException as err:
        return 128 + int(err.sigval)
    return 0


def _environment(n_processes: int, device: str | None) -> dict[str, str]:
    import torch

    variables = {_CHILD: "1", _PARENT: str(os.getpid())}
    n_gpus = torch.cuda.device_count() if device is None or device.startswith("cuda") else 0
    if n_gpus:
        if n_processes > n_gpus:
            raise UsageError(
                f"--num-processes {n_processes}: this machine has {n_gpus} GPUs", "use fewer, or --device cpu"
            )
        return variables
    variables["ACCELERATE_USE_CPU"] = "true"
    threads = max(1, (os.cpu_count() or 1) // n_processes)
    variables["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(threads))
    return variables


def _first_failure(err: Exception, n_processes: int) -> int:
    from interp_cli import console

    rank, failure = err.get_first_failure()  # type: ignore[attr-defined]
    code = int(failure.exitcode)
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    message = f"process {rank} of {n_processes} ended with {how}; the others were stopped"
    console.show_error(InterpError(message, "its own message is above"))
    return 128 - code if code < 0 else code
