"""The same work again and again in one process: memory and open files stay flat."""

import gc
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from small_tables import SmallTable

from interp_cli.__main__ import run as interp


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def descriptors() -> int:
    """Open file descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def slope(values: list[int]) -> float:
    """Bytes per round, by least squares over the second half."""
    half = values[len(values) // 2 :]
    return float(np.polyfit(range(len(half)), half, 1)[0])


def test_writing_and_reading_a_store_forty_times_keeps_memory_and_files_flat(folder: Path):
    table, used, files = SmallTable(4, 64, 256), [], []
    for number in range(40):
        entry = table.complete(folder / str(number % 7) / str(number))
        assert float(entry.read("0").sum()) != 0
        assert entry.problems() == []
        used.append(resident())
        files.append(descriptors())
    assert len(set(files[1:])) == 1
    size = sum(path.stat().st_size for path in entry.path.iterdir())
    assert slope(used) < 0.1 * size


def soak(folder: Path, seconds: float) -> None:
    """Extract and align again and again for some time; memory may grow by a tenth of a megabyte per round at most."""
    captions = folder / "captions.jsonl"
    captions.write_text("".join(json.dumps({"text": f"a small red circle {'x ' * (i % 9)}"}) + "\n" for i in range(64)))
    quiet = ["--progress", "none", "--no-report", "--quiet"]
    used, files = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(used) < 20:
        home = ["--out", str(folder / str(len(used)))]
        assert interp(["extract", "lm-d32", "lm-d64", "--dataset", str(captions), *quiet, *home]) == 0
        assert interp(["align", "lm-d32", "lm-d64", "--dataset", str(captions), *quiet, *home]) == 0
        shutil.rmtree(home[1])
        gc.collect()
        used.append(resident())
        files.append(descriptors())
    assert max(files[2:]) == min(files[2:])
    print(f"{len(used)} rounds, {slope(used):.0f} bytes per round")  # noqa: T201 - shown when the test fails
    assert slope(used) < 100_000, used


@pytest.mark.slow
def test_extracting_and_aligning_for_two_minutes_keeps_memory_and_files_flat(tmp_path: Path):
    soak(tmp_path, 120)


@pytest.mark.nightly
@pytest.mark.timeout(4000)
def test_extracting_and_aligning_for_an_hour_keeps_memory_and_files_flat(tmp_path: Path):
    soak(tmp_path, 3600)
