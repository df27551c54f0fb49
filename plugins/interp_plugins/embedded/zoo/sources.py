"""What training steps draw: which samples step i takes, from a seed and the step number alone.

Every step has its own generator, so a run that is resumed at step i goes on exactly as an uninterrupted one.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from interp_plugins.embedded.world.hashing import absorb

_STEP_STREAM, _HEAD_STREAM = 0, 2**16


def step_generator(seed: int, step: int, stream: int = _STEP_STREAM) -> torch.Generator:
    """The generator of one step; ``stream`` (below 2^16) tells apart several uses within a step."""
    return torch.Generator().manual_seed(_derived_seed(seed, step, stream))


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Within this block, library code that draws from torch's global generator draws from this seed; afterwards all is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def seeded_heads(seed: int) -> AbstractContextManager[None]:
    """``seeded`` for the parts of a training that are thrown away, with numbers apart from the model's."""
    return seeded(_derived_seed(seed, 0, _HEAD_STREAM))


def _derived_seed(*counters: int) -> int:
    return int(absorb(*counters)[0]) >> 1


def sample_rows(n_rows: int, size: int, generator: torch.Generator) -> Int[np.ndarray, " size"]:
    """Row numbers drawn uniformly with replacement, [size]."""
    return torch.randint(n_rows, (size,), generator=generator).numpy()


def normalised(pictures: UInt8[np.ndarray, "n 64 64 3"]) -> Float[Tensor, "n 3 64 64"]:
    """Pictures [n, 64, 64, 3] in 0 ... 255 as float32 [n, 3, 64, 64]: value/255, minus .5, divided by .25."""
    channels_first = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
    return (channels_first.float() / 255 - 0.5) / 0.25
