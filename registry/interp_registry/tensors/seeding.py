"""Randomness from one seed: every use has a generator of its own, named by what it is for.

``generator(seed, "shuffle", step=3)`` and ``generator(seed, "noise", step=3)`` are independent streams, the same on every machine
and whatever was drawn before; so a run that goes on at step 3 draws what an uninterrupted one draws. Nothing global is touched.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["derive_seed", "generator", "global_seed", "numpy_generator"]


def derive_seed(seed: int, purpose: str, step: int = 0, rank: int = 0) -> int:
    """A seed in [0, 2^63) made from a run's seed and what it is for.

    It is the first 63 bits of the sha256 of ``seed|step|rank|purpose``: different arguments give unrelated seeds.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for, e.g. "shuffle".
        step: Step, epoch or item.
        rank: Process, where processes must differ; 0 where they must agree.
    """
    name = f"{seed}|{step}|{rank}|{purpose}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1


def generator(
    seed: int, purpose: str, step: int = 0, rank: int = 0, device: "torch.device | str" = "cpu"
) -> "torch.Generator":
    """A torch generator for one purpose; see :func:`derive_seed`. Streams differ between kinds of devices."""
    import torch

    return torch.Generator(device).manual_seed(derive_seed(seed, purpose, step, rank))


def numpy_generator(seed: int, purpose: str, step: int = 0, rank: int = 0) -> "np.random.Generator":
    """A NumPy generator (PCG64) for one purpose; see :func:`derive_seed`."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(derive_seed(seed, purpose, step, rank)))


@contextmanager
def global_seed(seed: int, purpose: str, step: int = 0, rank: int = 0) -> Iterator[None]:
    """Seed torch's global generators for a block of code, and put them back as they were.

    Only for code that takes no generator, such as dropout inside other people's models.
    """
    import torch

    # torch.manual_seed would queue a call with its traceback for every device that is not in use: slow, and a leak in a loop
    number = derive_seed(seed, purpose, step, rank)
    before = torch.default_generator.get_state()
    on_cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    on_mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    torch.default_generator.manual_seed(number)
    if on_cuda is not None:
        torch.cuda.manual_seed_all(number)
    if on_mps is not None:
        torch.mps.manual_seed(number)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
        if on_cuda is not None:
            torch.cuda.set_rng_state_all(on_cuda)
        if on_mps is not None:
            torch.mps.set_rng_state(on_mps)
