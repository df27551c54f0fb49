"""Which GPUs of this machine the user's agents hold: one locked file per GPU, freed by the kernel when its holders end."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from interp_registry.errors import ResourceError

__all__ = ["GpuLease", "acquire", "gpu_ids", "gpus_locked"]


class GpuLease:
    """GPUs held through locked file descriptors; a child that inherits them holds them too."""

    def __init__(self, ids: Sequence[str], descriptors: Sequence[int]) -> None:
        self.ids = tuple(ids)
        self.descriptors = tuple(descriptors)

    def close(self) -> None:
        """Let go; children that inherited the descriptors still hold the GPUs."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def gpu_ids() -> list[str]:
    """GPUs that this user may use: ``CUDA_VISIBLE_DEVICES`` where it is set, else what ``nvidia-smi`` lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in {"", "-1"}]
    if shutil.which("nvidia-smi") is None:
        return []
    command = [shutil.which("nvidia-smi") or "nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - fixed words
        return answer.stdout.split() if answer.returncode == 0 else []
    return []


def acquire(ids: Sequence[str], n: int) -> GpuLease | None:
    """Take ``n`` of the given GPUs that nobody holds.

    Returns:
        The lease, or None when fewer than ``n`` are free.
    """
    held: list[tuple[str, int]] = []
    for name in ids:
        if len(held) == n:
            break
        descriptor = _locked(_folder() / f"gpu-{name.replace('/', '_')}.lock")
        if descriptor is not None:
            held.append((name, descriptor))
    lease = GpuLease([name for name, _ in held], [descriptor for _, descriptor in held])
    if len(held) < n:
        lease.close()
        return None
    return lease


def gpus_locked() -> int:
    """How many GPUs are held at this moment."""
    n_locked = 0
    for path in _folder().glob("gpu-*.lock"):
        descriptor = _locked(path)
        if descriptor is None:
            n_locked += 1
        else:
            os.close(descriptor)
    return n_locked


def _locked(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _folder() -> Path:
    """A folder of this user on this machine (never on a shared file system)."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"interp-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ResourceError(f"{folder} belongs to somebody else", "remove it, or set XDG_RUNTIME_DIR")
    return folder
