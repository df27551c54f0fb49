"""A small file system in memory, for tests of full disks; needs the right to mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A file system of some MiB, mounted at :attr:`path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def free(self) -> int:
        """Free bytes."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def grow(self, mebibytes: int) -> None:
        """Give it another size."""
        subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", self.path], check=True)

    def fill(self, left: int = 0) -> None:
        """Fill it up but for so many bytes."""
        (self.path / "ballast").write_bytes(b"x" * (self.free - left))

    def clear(self) -> None:
        """Take away what :meth:`fill` wrote."""
        (self.path / "ballast").unlink()


@contextmanager
def small_disk(path: Path, mebibytes: int = 4) -> Iterator[SmallDisk]:
    """Mount a small disk, or skip the test where that is not allowed."""
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", path], capture_output=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", path], check=True)
