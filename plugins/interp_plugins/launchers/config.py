"""What can be set for each launcher. Plain data: the implementations are imported when they are built."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from interp_registry.choices import LauncherConfig

__all__ = ["LocalLauncherConfig", "PrintLauncherConfig", "SlurmLauncherConfig", "SshLauncherConfig"]


@dataclass
class LocalLauncherConfig(LauncherConfig):
    """Agents on this machine; they go on when the terminal is closed."""

    impl: ClassVar[str] = "interp_plugins.launchers.local:Local"

    gpu_ids: list[str] = field(default_factory=list)
    """GPUs that tasks may use, e.g. 0,1 (default: those in CUDA_VISIBLE_DEVICES, else all that are there)"""

    def __post_init__(self) -> None:
        """Take ``0,1`` for two GPUs."""
        self.gpu_ids = _separated(self.gpu_ids)


@dataclass
class SlurmLauncherConfig(LauncherConfig):
    """An array job on SLURM; no accounting database is needed."""

    impl: ClassVar[str] = "interp_plugins.launchers.slurm:Slurm"

    partition: str | None = None
    """partition to submit to"""
    dependency: str | None = None
    """job that must have ended well before, by number, or sbatch's own words (afterany:123)"""
    sbatch: list[str] = field(default_factory=list)
    """a further option of sbatch, e.g. constraint=a100; may be given several times"""
    setup: list[str] = field(default_factory=list)
    """a shell line that runs before each task, e.g. "module load cuda"; may be given several times"""
    log_dir: Path = Path("~/slurm_logs")
    """folder that gets a link slurm-JOB_TASK.out to each log"""
    requeue: bool = True
    """start a task again after its time limit and after preemption"""
    signal_seconds: int = 120
    """how long before the time limit a task is asked to stop (seconds)"""


@dataclass
class SshLauncherConfig(LauncherConfig):
    """Agents on other machines that see this folder and have the same Python environment."""

    impl: ClassVar[str] = "interp_plugins.launchers.ssh:Ssh"

    hosts: list[str] = field(default_factory=list)
    """machines as ssh knows them, e.g. node1,node2"""
    ssh: list[str] = field(default_factory=lambda: ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"])
    """command that reaches a machine; the host and one command line are appended"""
    connect_seconds: float = 30.0
    """how long one such command may take (seconds)"""

    def __post_init__(self) -> None:
        """Take ``a,b`` for two hosts."""
        self.hosts = _separated(self.hosts)


@dataclass
class PrintLauncherConfig(LauncherConfig):
    """Starts nothing: writes one command line per task, for GNU parallel, PBS, LSF or by hand."""

    impl: ClassVar[str] = "interp_plugins.launchers.printing:Print"


def _separated(texts: list[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]
