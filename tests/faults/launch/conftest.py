"""A real SLURM on the loopback interface, started from Debian's packages, and a small task to run on it."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interp_cli.launch.folder import Task
from interp_cli.launch.submit import LaunchRequest

_CONF = """\
ClusterName=t
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctl_port}
SlurmdPort={node_port}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PreemptExemptTime=0
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
KillWait=2
MinJobAge=3600
MaxArraySize={array_size}
MailProg=/bin/true
SlurmdParameters=config_overrides
JobRequeue=1
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 Boards=1 SocketsPerBoard=1 CoresPerSocket=16 ThreadsPerCore=1 RealMemory=900000 Gres=gpu:8
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=1
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


@dataclass(frozen=True)
class Slurm:
    """A private cluster of one node with 16 cores and 8 GPUs that are not there."""

    folder: Path
    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """Output of one of SLURM's commands."""
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30)
        assert answer.returncode == 0, f"{command}: {answer.stderr}"
        return answer.stdout

    def restart_now(self, job: str) -> None:
        """Start a requeued job without SLURM's two minutes of delay.

        slurmd notes by whole seconds when it killed a job and takes a new start within the same second for the old one
        ("already killed, do not launch"), which ends the job as failed; SLURM's own delay keeps clear of that.
        """
        time.sleep(2)
        said = ""
        for _ in range(300):
            state = self.ask("squeue", "-h", "-r", "--states=all", "-j", job, "-o", "%T|%r|%S").strip()
            if state.startswith("RUNNING"):
                return
            answer = subprocess.run(
                ["scontrol", "update", f"jobid={job}", "starttime=now"],
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=30,
            )
            said = f"{state}: {answer.stderr.strip()}"
            time.sleep(0.2)
        raise AssertionError(f"job {job} was not started again: {said}")


def _why_not() -> str | None:
    missing = [name for name in ("slurmctld", "slurmd", "sinfo") if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client"
    return None if os.getuid() == 0 else "starting slurmd needs root"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A running SLURM, for tests that ask for it; they are skipped where it cannot be started."""
    reason = _why_not()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool", "log"):
        (folder / name).mkdir()
    for number in range(8):
        _make_gpu(folder / f"gpu{number}")
    host = socket.gethostname().split(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(host=host, folder=folder, ctl_port=_free_port(), node_port=_free_port(), array_size=121)
    )
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-7]\n")
    cluster = Slurm(folder, {**os.environ, "SLURM_CONF": str(conf)})
    try:
        cluster.ask("slurmctld", "-c", "-f", str(conf))
        cluster.ask("slurmd", "-f", str(conf))
        _wait_until_idle(cluster)
        yield cluster
    finally:
        _stop(folder)


def _make_gpu(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this machine forbids making device files")


def _wait_until_idle(cluster: Slurm) -> None:
    for _ in range(150):
        with contextlib.suppress(subprocess.TimeoutExpired):
            answer = subprocess.run(
                ["sinfo", "-h", "-p", "debug", "-o", "%t"],
                env=cluster.environment,
                capture_output=True,
                text=True,
                timeout=5,
            )
            if answer.stdout.strip() == "idle":
                return
        time.sleep(0.2)
    logs = "\n".join(path.read_text()[-1500:] for path in (cluster.folder / "log").glob("*.log"))
    pytest.skip(f"SLURM did not start on this machine:\n{logs}")


def _stop(folder: Path) -> None:
    conf = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["scancel", "--me"], env=conf, capture_output=True, timeout=10)
    for name in ("slurmd", "slurmctld"):
        pid_file = folder / f"{name}.pid"
        if not pid_file.exists():
            continue
        pid = int(pid_file.read_text())
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists():
                break
            time.sleep(0.1)


WORKER = """\
import hashlib, json, os, signal, sys, time
from pathlib import Path
out, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
part, whole = out / f"{name}.part", out / f"{name}.json"
def stop(*_):
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
if whole.exists():
    sys.exit(0)
if name.startswith("bad") and not (out / "mended").exists():
    sys.exit("this item is bad")
step = int(part.read_text()) if part.exists() else 0
while step < 10:
    time.sleep(seconds / 10)
    step += 1
    temporary = out / f".{name}.{os.getpid()}"
    temporary.write_text(str(step))
    temporary.replace(part)
digest = hashlib.sha256(name.encode()).hexdigest()
temporary = out / f".{name}.{os.getpid()}"
temporary.write_text(json.dumps({"name": name, "digest": digest}))
temporary.replace(whole)
print("done", name, os.environ.get("CUDA_VISIBLE_DEVICES", "no gpu"))
"""


@pytest.fixture
def worker(tmp_path: Path) -> Callable[..., LaunchRequest]:
    """A request for tasks that count to ten, remember how far they came, and write one file each."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    out = tmp_path / "out"
    out.mkdir()

    def request(launcher: object, names: list[str], seconds: float = 0.5, **changes: object) -> LaunchRequest:
        tasks = [Task(i, (str(out), name, str(seconds)), name) for i, name in enumerate(names)]
        settings = {"snapshot": False, "gpus": 0, **changes}
        return LaunchRequest(launcher, tasks, tmp_path / "launches", program=(sys.executable, str(script)), **settings)

    request.out = out
    return request
