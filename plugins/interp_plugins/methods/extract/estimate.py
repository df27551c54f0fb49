"""What an extraction will need: time, disk, memory, downloads; no weights are read and nothing is downloaded."""

from dataclasses import dataclass
from typing import Any

from interp_plugins.datasets.resolve import select_dataset
from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.jobs import Job, plan_jobs
from interp_plugins.models.sizes import size_of
from interp_registry.contracts.method import Cost, RunContext
from interp_registry.errors import InterpError

__all__ = ["estimate"]

_CPU_FLOPS_PER_SECOND = 3e10
_GPU_FLOPS_PER_SECOND = 5e13
_TOKENS_OF_A_TEXT = 64
_TOKENS_OF_AN_IMAGE = 200
_STORED_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_WEIGHT_BYTES = {"4bit": 0.55, "8bit": 1.05}


@dataclass(frozen=True)
class _Share:
    """What one model adds."""

    seconds: float
    disk: int
    memory: int
    download: int
    note: str


def estimate(config: ExtractConfig, ctx: RunContext) -> Cost:
    """Expected cost of an extraction: rough in time (2 FLOP per parameter and token), close in disk and memory."""
    dataset = select_dataset(config.dataset, config.limit, config.shuffle_seed)
    jobs, failures = plan_jobs(config, dataset, ctx.catalog, ctx.device)
    shares: list[_Share] = []
    notes = [f"{failure.item}: {failure.message}" for failure in failures]
    for job in jobs:
        try:
            shares.append(_share(job, config, ctx))
        except InterpError as err:
            notes.append(f"{job.model.name}: {err}")
    return Cost(
        seconds=sum(share.seconds for share in shares),
        disk_bytes=sum(share.disk for share in shares),
        memory_bytes=max((share.memory for share in shares), default=0),
        download_bytes=sum(share.download for share in shares),
        notes=(*notes, *(share.note for share in shares)),
    )


def _share(job: Job, config: ExtractConfig, ctx: RunContext) -> _Share:
    stored = ctx.features.find(job.request)
    if stored is not None and stored.complete:
        return _Share(0.0, 0, 0, 0, f"{job.model.name}: stored already")
    size = size_of(job.model)
    n_samples = len(job.dataset)
    tokens = n_samples * (_TOKENS_OF_A_TEXT if job.model.modality == "language" else _TOKENS_OF_AN_IMAGE)
    speed = _CPU_FLOPS_PER_SECOND if ctx.device == "cpu" else _GPU_FLOPS_PER_SECOND
    row = len(job.request.pools) * size.n_layers * size.width * _STORED_BYTES[config.store_dtype]
    weights = int(size.n_params * _bytes_per_weight(config, job))
    return _Share(
        seconds=2 * size.n_params * tokens / speed,
        disk=n_samples * row,
        memory=int(1.2 * weights) + 2 * config.shard_rows * row,
        download=0 if size.local else 4 * size.n_params,
        note=f"{job.model.name}: {size.n_params:,} parameters, {size.n_layers} layers of {size.width}",
    )


def _bytes_per_weight(config: ExtractConfig, job: Job) -> float:
    if config.model.quantize is not None:
        return _WEIGHT_BYTES[config.model.quantize]
    compute: Any = job.request.options["compute"]
    return 4 if compute == "float32" else 2
