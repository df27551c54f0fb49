"""Memory of this process and of its device, reported as events now and then, for dashboards and reports."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp_cli.quiet import Silence
from interp_registry.events import EventSink

__all__ = ["device_gib", "device_name", "memory_gib", "sampled"]

_FIRST_SECONDS = 1.0
_SECONDS = 5.0
_GIB = 1 << 30


def memory_gib() -> float | None:
    """Resident memory of this process in GiB; ``None`` where the platform does not say."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ImportError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize() / _GIB


def device_name() -> str:
    """The device that torch computes on, in words; empty before torch is loaded. It never loads torch."""
    torch = _loaded_torch()
    if torch is None:
        return ""
    if torch.cuda.is_initialized():
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} threads"


def device_gib() -> float | None:
    """Memory that torch holds on CUDA devices in GiB; ``None`` before torch uses one. It never loads torch."""
    torch = _loaded_torch()
    if torch is None or not torch.cuda.is_initialized():
        return None
    return sum(torch.cuda.memory_reserved(i) for i in range(torch.cuda.device_count())) / _GIB


def _loaded_torch() -> Any:
    """torch, once another thread has imported all of it; ``None`` before."""
    torch = sys.modules.get("torch")
    return None if getattr(getattr(torch, "__spec__", None), "_initializing", True) else torch


@contextmanager
def sampled(sink: EventSink, silence: Silence) -> Iterator[None]:
    """Report ``system/memory`` and ``system/device_memory`` (GiB) to ``sink`` after a second and then every five.

    The device is reported too, as information on the state, when torch has been loaded or begins to use another one; and what the
    run waits for, when it gave no news for long.
    """
    stop, began = threading.Event(), time.monotonic()
    seconds = min(_SECONDS, silence.patience)

    def work() -> None:
        wait, device = min(_FIRST_SECONDS, seconds), ""
        while not stop.wait(wait):
            wait = seconds
            if warning := silence.warning():
                sink.message(warning, "warning")
            if device_name() != device:
                device = device_name()
                sink.state("running", info={"device": device})
            for name, value in (("system/memory", memory_gib()), ("system/device_memory", device_gib())):
                if value is not None:
                    sink.scalar(name, round(value, 3), round(time.monotonic() - began))

    thread = threading.Thread(target=work, name="interp-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
