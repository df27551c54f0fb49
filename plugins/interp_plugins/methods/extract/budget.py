"""How many tokens (or images) go into one batch: constant on a CPU, found by growing on a GPU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.passes import Listeners, PassPlan, run_shard
from interp_plugins.methods.extract.planning import BatchPlan
from interp_plugins.methods.extract.sources import Source
from interp_registry.contracts.model import Model
from interp_registry.hardware import is_out_of_memory

__all__ = ["choose_batch_plan", "grow"]

_CPU_TOKENS, _CPU_IMAGES = 2048, 32
_LARGEST_TOKENS, _LARGEST_IMAGES = 1 << 18, 1 << 12
_GOOD_USE = 0.6
_BATCHES_OF_A_SHARD = 4


def choose_batch_plan(
    config: ExtractConfig, model: Model, source: Source, plan: PassPlan, *, keep_tokens: bool = False
) -> BatchPlan:
    """The limits of a batch: what was asked for, or a constant on a CPU, or what fills a GPU's memory well.

    The choice stands in the manifest, so every process and every resumed run uses the same.
    """
    vision = model.info.modality == "vision"
    bucket = plan.left_width is None
    if config.max_tokens is not None or config.batch_size is not None:
        budget = config.max_tokens or (config.batch_size if vision else None) or _LARGEST_TOKENS
        return BatchPlan(budget, config.batch_size, bucket)
    start, largest = (_CPU_IMAGES, _LARGEST_IMAGES) if vision else (_CPU_TOKENS, _LARGEST_TOKENS)
    meter = _meter(getattr(model, "device", torch.device("cpu")))
    if meter is None:
        return BatchPlan(start, None, bucket)
    largest = min(largest, _share_of_a_shard(source, config.shard_rows))
    return BatchPlan(grow(start, largest, _fits(meter, model, source, plan, _listeners(keep_tokens))), None, bucket)


@dataclass(frozen=True)
class _Meter:
    """Watches the memory of a device."""

    reset: Callable[[], None]
    """Begin anew."""
    used_share: Callable[[], float]
    """Largest share of the memory that was taken since then."""


def _meter(device: torch.device) -> _Meter | None:
    """None for a CPU, whose memory is shared with everything else."""
    if device.type != "cuda":
        return None
    total = torch.cuda.mem_get_info(device)[1]
    return _Meter(
        lambda: torch.cuda.reset_peak_memory_stats(device), lambda: torch.cuda.max_memory_reserved(device) / total
    )


def _share_of_a_shard(source: Source, shard_rows: int) -> int:
    """A quarter of a shard: while its first batches are computed, the shard before it is written."""
    lengths = source.lengths(range(len(source)))
    return sum(lengths) * min(shard_rows, len(lengths)) // (_BATCHES_OF_A_SHARD * len(lengths))


def grow(start: int, largest: int, used_share: Callable[[int], float]) -> int:
    """Double a budget while less than 60 % of the memory is used and the next size does not fail.

    Args:
        start: First budget to try; returned when nothing fits, since a batch can still be halved later.
        largest: Never more than this.
        used_share: Tries a budget and says what share of the memory its peak was; above 1 when it did not fit.
    """
    budget = start
    share = used_share(budget)
    while budget * 2 <= largest and share < _GOOD_USE:
        share = used_share(budget * 2)
        if share > 1:
            break
        budget *= 2
    return budget


def _listeners(keep_tokens: bool) -> Listeners:
    """Somebody who wants the tokens, where they are kept: they take memory then."""
    return Listeners(tokens=(lambda _rows, _batch, _kept: None) if keep_tokens else None)


def _fits(meter: _Meter, model: Model, source: Source, plan: PassPlan, listeners: Listeners) -> Callable[[int], float]:
    """Try a budget on the longest samples, which need the most."""
    rows = range(len(source))
    lengths = source.lengths(rows)
    longest_first = sorted(rows, key=lambda row: -lengths[row])

    def used_share(budget: int) -> float:
        count = max(min(budget // lengths[longest_first[0]], len(longest_first)), 1)
        meter.reset()
        try:
            values = run_shard(model, source, rows, [longest_first[:count]], plan, listeners)
        except RuntimeError as err:
            if is_out_of_memory(err):
                return 2.0
            raise
        if values.splits:
            return 2.0
        # all samples in one batch already: growing on would change nothing
        return 1.0 if count == len(longest_first) else meter.used_share()

    return used_share
