"""A folder in memory where there is one: fault tests are about order and names, not about the speed of a disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of the test, in memory if possible."""
    memory = Path("/dev/shm")  # noqa: S108 - made for this
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="interp-test-", dir=memory))
    yield made
    shutil.rmtree(made)
