"""The same work again and again in one process: memory and open files stay flat."""

import gc
import json
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


@pytest.mark.slow
def test_extracting_and_aligning_again_and_again_keeps_memory_and_files_flat(tmp_path: Path):
    captions = tmp_path / "captions.jsonl"
    captions.write_text("".join(json.dumps({"text": f"a small red circle {'x ' * (i % 9)}"}) + "\n" for i in range(64)))
    quiet = ["--progress", "none", "--no-report", "--quiet"]
    used, files = [], []
    for number in range(14):
        home = ["--out", str(tmp_path / str(number))]
        assert interp(["extract", "lm-d32", "lm-d64", "--dataset", str(captions), *quiet, *home]) == 0
        assert interp(["align", "lm-d32", "lm-d64", "--dataset", str(captions), *quiet, *home]) == 0
        gc.collect()
        used.append(resident())
        files.append(descriptors())
    assert max(files[2:]) == min(files[2:])
    assert slope(used) < 3 << 20, used
