"""What this machine computes with, and the number type and attention kernel that suit each device.

Imports torch only when asked.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["Device", "best_dtype", "free_memory", "is_out_of_memory", "probe"]


@dataclass(frozen=True)
class Device:
    """One device and what is used on it unless the user says otherwise.

    Attributes:
        name: As ``--device`` takes it: "cpu", "cuda:0", "mps".
        model: The maker's name.
        memory: Bytes of memory in all; 0 when unknown.
        free: Bytes that are free now; 0 when unknown.
        dtype: Number type of weights: "float32", "bfloat16", "float16".
        attention: Kernel of attention: "sdpa", by which torch chooses among those of the device.
    """

    name: str
    model: str
    memory: int
    free: int
    dtype: str
    attention: str = "sdpa"


def best_dtype(device: "torch.device") -> "torch.dtype":
    """The type of weights: float32 on CPU and MPS; on a GPU bfloat16 where the hardware computes in it, else float16."""
    import torch

    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def probe() -> list[Device]:
    """All devices of this machine, the best first."""
    import torch

    devices: list[Device] = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, memory = torch.cuda.mem_get_info(index)
        devices.append(_device(torch.device("cuda", index), torch.cuda.get_device_name(index), memory, free))
    if torch.backends.mps.is_available():
        memory = torch.mps.recommended_max_memory()
        devices.append(_device(torch.device("mps"), "Apple MPS", memory, memory - torch.mps.current_allocated_memory()))
    memory, free = _main_memory()
    devices.append(_device(torch.device("cpu"), f"CPU, {torch.get_num_threads()} threads", memory, free))
    return devices


def free_memory(device: "torch.device") -> int:
    """Bytes that a device has free; 0 when the system does not tell."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def is_out_of_memory(err: BaseException) -> bool:
    """PyTorch has an error of its own on GPUs; the CPU allocator and some kernels raise a plain RuntimeError."""
    import torch

    words = str(err).lower()
    return (
        isinstance(err, torch.OutOfMemoryError | MemoryError) or "out of memory" in words or "allocate memory" in words
    )


def _device(device: "torch.device", model: str, memory: int, free: int) -> Device:
    dtype = str(best_dtype(device)).removeprefix("torch.")
    return Device(str(device), model, memory, free, dtype)


def _main_memory() -> tuple[int, int]:
    """Bytes of main memory in all and free; zeros where the system does not tell."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):
        return 0, 0
