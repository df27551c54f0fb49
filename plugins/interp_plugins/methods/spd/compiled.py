"""Build and load the compiled loops of a decomposition step, where a C++ compiler is there.

Nothing depends on it: without a compiler, or with ``INTERP_NO_COMPILED_KERNELS`` set, the same mathematics runs in
torch. The library is built once per source, compiler and processor into the user's cache folder.
"""

import ctypes
import functools
import hashlib
import logging
import math
import os
import platform
import shutil
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["KernelLibrary", "even_rows", "kernel_library", "usable"]

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("kernels.cpp")
DISABLE = "INTERP_NO_COMPILED_KERNELS"
# No -ffast-math as such: at link time it would switch off denormals for the whole process.
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-fPIC", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math",
    "-fno-signed-zeros", "-freciprocal-math", "-ffinite-math-only", "-fassociative-math",
)  # fmt: skip
WIDE_VECTORS = "-mprefer-vector-width=512"  # GCC on x86 halves its vectors without this
BUILD_SECONDS = 120


_POINTER, _INTEGER, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_SIGNATURES = {
    "gate_forward": [_POINTER] * 6 + [_INTEGER] * 4,
    "gate_backward": [_POINTER] * 10 + [_INTEGER] * 4,
    "masked_forward": [_POINTER] * 5 + [_INTEGER] * 5,
    "masked_backward": [_POINTER] * 7 + [_INTEGER] * 5,
    "fired_forward": [_POINTER] * 3 + [_INTEGER] * 3 + [_FLOAT, _INTEGER],
    "fired_backward": [_POINTER] * 4 + [_INTEGER] * 3 + [_FLOAT, _INTEGER],
    "lower_backward": [_POINTER] * 3 + [_INTEGER] * 2,
}


class KernelLibrary:
    """The loops of ``kernels.cpp``, called on float32 tensors of the CPU."""

    def __init__(self, path: Path) -> None:
        self.path = path
        library = ctypes.CDLL(str(path))
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, None
        self._library = library

    def gate_forward(self, h: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        """Return the gate's output for contiguous inputs (runs, rows, components)."""
        out = torch.empty_like(h)
        self._library.gate_forward(*_pointers(h, w1, b1, w2, b2, out), *_sizes(h, w1))
        return out

    def gate_backward(self, h: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of h, w1, b1, w2 and b2."""
        grads = (torch.empty_like(h), *(torch.zeros_like(w1) for _ in range(3)), torch.zeros_like(w1[..., 0]))
        self._library.gate_backward(*_pointers(h, w1, b1, w2, grad, *grads), *_sizes(h, w1))
        return grads

    def masked_forward(self, h: Tensor, ci: Tensor, source: Tensor, share: Tensor | None) -> Tensor:
        """Return ``h * (ci + (1 - ci) * source - share)`` for tensors that :func:`even_rows` has seen."""
        out = torch.empty(h.shape, dtype=h.dtype)
        self._library.masked_forward(*_pointers(h, ci, source, share, out), *_rows(h), *map(_stride, (h, ci, source)))
        return out

    def masked_backward(
        self, grad: Tensor, h: Tensor, ci: Tensor, source: Tensor, share: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of h and ci."""
        grads = torch.empty(h.shape, dtype=h.dtype), torch.empty(h.shape, dtype=h.dtype)
        strides = map(_stride, (h, ci, source))
        self._library.masked_backward(*_pointers(grad, h, ci, source, share, *grads), *_rows(h), *strides)
        return grads

    def fired_forward(self, z: Tensor, weights: Tensor | None, run_dims: int, eps: float, squared: bool) -> Tensor:
        """Return batch sums of the upper squashing (or its square) of contiguous z."""
        runs = math.prod(z.shape[:run_dims])
        sums = torch.zeros(*z.shape[:run_dims], z.shape[-1], dtype=torch.float64)
        rows = z.numel() // max(1, runs * z.shape[-1])
        self._library.fired_forward(*_pointers(z, weights, sums), runs, rows, z.shape[-1], eps, int(squared))
        return sums.to(z.dtype)

    def fired_backward(self, z: Tensor, weights: Tensor | None, grad: Tensor, eps: float, squared: bool) -> Tensor:
        """Return the gradient of z, given that of the sums."""
        runs = grad.numel() // grad.shape[-1]
        rows = z.numel() // max(1, runs * z.shape[-1])
        out = torch.empty_like(z)
        self._library.fired_backward(*_pointers(z, weights, grad, out), runs, rows, z.shape[-1], eps, int(squared))
        return out

    def lower_backward(self, z: Tensor, grad: Tensor, only_upwards: bool) -> Tensor:
        """Return the gradient of z, given that of the lower leaky hard sigmoid; both contiguous."""
        out = torch.empty_like(z)
        self._library.lower_backward(*_pointers(z, grad, out), z.numel(), int(only_upwards))
        return out


def even_rows(x: Tensor) -> Tensor:
    """Return the tensor, copied unless its rows are dense and lie at one distance from each other."""
    if x.stride(-1) != 1 and x.shape[-1] > 1:
        return x.contiguous()
    steps = [(size, stride) for size, stride in zip(x.shape[:-1], x.stride()[:-1], strict=True) if size > 1]
    even = all(outer == size * inner for (_, outer), (size, inner) in pairwise(steps))
    return x if even else x.contiguous()


def usable(*tensors: Tensor) -> "KernelLibrary | None":
    """Return the library if it is there and all tensors are of its kind."""
    if all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors):
        return kernel_library()
    return None


def _pointers(*tensors: Tensor | None) -> list[int | None]:
    return [None if t is None else t.data_ptr() for t in tensors]


def _rows(x: Tensor) -> tuple[int, int]:
    """Return the numbers of rows and columns."""
    return x.numel() // max(1, x.shape[-1]), x.shape[-1]


def _stride(x: Tensor) -> int:
    """Return the distance between two rows."""
    return next(
        (stride for size, stride in zip(x.shape[-2::-1], x.stride()[-2::-1], strict=True) if size > 1), x.shape[-1]
    )


def _sizes(h: Tensor, w1: Tensor) -> tuple[int, int, int, int]:
    """Return runs, rows, components and hidden units."""
    runs = w1[..., 0, 0].numel()
    return runs, h.numel() // (runs * h.shape[-1]), h.shape[-1], w1.shape[-1]


@functools.cache
def kernel_library() -> KernelLibrary | None:
    """Return the compiled library, building it on first use; None where that is not possible (logged once)."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if os.environ.get(DISABLE) or compiler is None:
        return None
    try:
        return KernelLibrary(_built(compiler))
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        logger.warning("compiled kernels are not used: %s; the same mathematics runs in torch, more slowly", error)
        return None


def _built(compiler: str) -> Path:
    """Compile into the cache folder unless the same build is there already."""
    flags = (*FLAGS, WIDE_VECTORS) if compiler.endswith("g++") and platform.machine() == "x86_64" else FLAGS
    key = hashlib.sha256(SOURCE.read_bytes() + repr((compiler, flags, _processor())).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interp" / "kernels"
    target = cache / f"spd-{key}.so"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        unit, library = Path(folder) / "kernels.o", Path(folder) / "kernels.so"
        for command in (
            [compiler, *flags, "-c", str(SOURCE), "-o", str(unit)],
            [compiler, "-shared", str(unit), "-o", str(library)],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=BUILD_SECONDS)  # noqa: S603
        library.replace(target)
    return target


def _processor() -> str:
    """Return what tells this processor from others: a build for another one may not run here."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor() + platform.machine()
