"""How fast the feature store writes beside raw write and fsync, and how many bytes reading one layer touches.

    python benchmarks/store_throughput.py [--folder DIR] [--mebibytes 512] [--repetitions 5]

The ways of writing alternate in one run, so that a loaded machine disturbs them alike; the ratio is what counts. The features have
the shape of a 7B model's (33 layers of width 4096, fp32; 1,024 samples are 554 MB). The sha256 runs in a thread of its own at about
1 GB per CPU-second: where it has a core, it hides behind any disk that syncs less than that; on busier machines and faster disks the
CPU column says what to expect, and ``--hash xxh3`` costs a tenth of it. Touched bytes are the pages of the files in the page cache
after reading one layer of a file that was not in it before (mincore), read-ahead included.
"""

import argparse
import ctypes
import ctypes.util
import mmap
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from interp_registry.stores.background import BackgroundWriter
from interp_registry.stores.features import FeatureEntry, FeaturePlan, FeatureRequest, FeatureStore
from interp_registry.stores.hashing import fast_digest, new_digest

LAYERS, WIDTH = 33, 4096
_LIBC = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def raw(folder: Path, shards: Sequence[dict[str, Tensor]]) -> float:
    """Seconds to write and sync the same bytes with nothing around them."""
    started = time.perf_counter()
    for index, tensors in enumerate(shards):
        descriptor = os.open(folder / f"raw-{index}", os.O_WRONLY | os.O_CREAT)
        for tensor in tensors.values():
            os.write(descriptor, memoryview(tensor.view(-1).view(torch.uint8).numpy()))
        os.fsync(descriptor)
        os.close(descriptor)
    return time.perf_counter() - started


def stored(folder: Path, shards: Sequence[dict[str, Tensor]], algorithm: str, background: bool) -> float:
    """Seconds to write the same tensors as features: hashed, sealed, synced, linked."""
    rows = [len(next(iter(tensors.values()))) for tensors in shards]
    plan = FeaturePlan(sum(rows), rows[0], {str(layer): WIDTH for layer in range(LAYERS)})
    entry = FeatureStore(folder).open(FeatureRequest("seven", "world", algorithm), plan, algorithm=algorithm)
    started = time.perf_counter()
    if background:
        with BackgroundWriter() as writer:
            for index, tensors in enumerate(shards):
                writer.submit(entry.write_shard, index, tensors, [str(row) for row in entry.rows(index)])
    else:
        for index, tensors in enumerate(shards):
            entry.write_shard(index, tensors, [str(row) for row in entry.rows(index)])
    seconds = time.perf_counter() - started
    entry.finish()
    return seconds


def hash_seconds(algorithm: str) -> float:
    """CPU-seconds that the hashing thread needs for a GB."""
    data = memoryview(os.urandom(64 << 20))
    started = time.thread_time()
    new_digest(algorithm).update(data)
    fast_digest(data)
    return (time.thread_time() - started) / len(data) * 1e9


def cached_bytes(path: Path) -> int:
    """Bytes of a file that are in the page cache."""
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as m,
    ):
        pages = -(-size // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        start = ctypes.addressof(ctypes.c_char.from_buffer(m))
        if _LIBC.mincore(ctypes.c_void_p(start), ctypes.c_size_t(size), found):
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(page & 1 for page in found) * mmap.PAGESIZE


def forget(path: Path) -> None:
    """Take a file out of the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def touched_by_one_layer(entry: FeatureEntry, layer: str) -> tuple[int, int, int]:
    """Bytes in the page cache before and after reading one layer, and that layer's bytes."""
    files = [entry.shard_path(index) for index in range(entry.n_shards)]
    for path in files:
        forget(path)
    before = sum(map(cached_bytes, files))
    values = FeatureEntry(entry.path).read(layer)
    total = float(values.sum())
    after = sum(map(cached_bytes, files))
    assert total == total  # noqa: PLR0124, S101 - the values are used
    return before, after, values.numel() * values.element_size()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = 248
    n_shards = max(1, options.mebibytes * 2**20 // (rows * LAYERS * WIDTH * 4))
    generator = torch.Generator().manual_seed(0)
    one = {f"avg/{layer}": torch.randn(rows, WIDTH, generator=generator) for layer in range(LAYERS)}
    shards = [one] * n_shards
    size = n_shards * rows * LAYERS * WIDTH * 4
    ways = {
        "raw write + fsync": lambda folder: raw(folder, shards),
        "store, sha256": lambda folder: stored(folder, shards, "sha256", background=False),
        "store, sha256, background": lambda folder: stored(folder, shards, "sha256", background=True),
        "store, xxh3": lambda folder: stored(folder, shards, "xxh3", background=False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(options.repetitions):
        names = list(ways)[repetition % len(ways) :] + list(ways)[: repetition % len(ways)]
        for name, way in ((name, ways[name]) for name in names):
            with tempfile.TemporaryDirectory(dir=options.folder) as made:
                before = time.process_time()
                seconds[name].append(way(Path(made)))
                busy[name].append(time.process_time() - before)
    base = statistics.median(seconds["raw write + fsync"])
    print(f"{size / 2**20:.0f} MiB in {n_shards} shards, median of {options.repetitions}")
    for name, values in seconds.items():
        each = [b / v for b, v in zip(seconds["raw write + fsync"], values, strict=True)]
        median = statistics.median(values)
        cpu = statistics.median(busy[name]) / size * 1e9
        rate, ratio = size / median / 1e6, statistics.median(each)
        print(f"{name:28} {rate:8.0f} MB/s   ratio {base / median:.2f}, paired {ratio:.2f}   CPU {cpu:.2f} s/GB")
    for algorithm in ("sha256", "xxh3"):
        cpu = hash_seconds(algorithm)
        hidden = base / max(base, cpu * size / 1e9)
        print(f"{algorithm}: {cpu:.2f} CPU-s/GB; ratio to expect where it has a core of its own: {hidden:.2f}")
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        stored(folder, shards, "sha256", background=False)
        before, after, layer = touched_by_one_layer(next(FeatureStore(folder).entries()), "17")
        print(
            f"reading one layer: {layer} bytes, touched {after} (before: {before}), ratio {(after - before) / layer:.3f}"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
