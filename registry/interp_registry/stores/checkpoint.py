"""Training checkpoints: complete or not there, hashed, and without pickled objects.

A checkpoint is a folder::

    step-00000100/
        weights.safetensors   what is trained, in the form of :mod:`interp_registry.stores.shards`
        state.pt              optimisers, generators, counters: tensors and plain values, loadable with weights_only=True
        checkpoint.json       step, monitored value, length and sha256 of both files

It is written under a temporary name, synced, and renamed; a process killed meanwhile leaves only a temporary folder, which nobody
takes for a checkpoint. Equal states give equal bytes.
"""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from interp_registry.errors import CorruptError, DataError, ResourceError, UsageError
from interp_registry.stores.artifact import make_folder, remove_folder, whole_folder
from interp_registry.stores.hashing import hash_file
from interp_registry.stores.keys import Json
from interp_registry.stores.records import read_record, record_bytes
from interp_registry.stores.shards import open_shard, write_shard

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Checkpoint", "CheckpointStore"]

_LOG = logging.getLogger(__name__)
_WEIGHTS, _STATE, _RECORD = "weights.safetensors", "state.pt", "checkpoint.json"
_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk.

    Attributes:
        path: Its folder.
        step: Updates that were made before it.
        metric: The monitored value, if there was one.
        files: Length and sha256 of each file, as recorded.
    """

    path: Path
    step: int
    metric: float | None
    files: Mapping[str, tuple[int, str]]

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        """Open a checkpoint's folder.

        Raises:
            CorruptError: Its record is missing or not what was written.
        """
        try:
            record = read_record(path / _RECORD)
        except FileNotFoundError as err:
            raise CorruptError(f"{path} is corrupt: {_RECORD} is missing", "remove that folder") from err
        files = {name: (size, digest) for name, (size, digest) in record["files"].items()}
        return cls(path, record["step"], record["metric"], files)

    def verify(self) -> None:
        """Compare its files with the recorded digests.

        Raises:
            CorruptError: One is missing or not what was written; the message names it.
        """
        for name, (size, digest) in self.files.items():
            file = self.path / name
            if not file.is_file():
                raise CorruptError(f"{file} is missing", "remove that folder to go on from the checkpoint before it")
            if file.stat().st_size != size or hash_file(file) != digest:
                raise CorruptError(
                    f"{file} is corrupt: it does not match its sha256",
                    "remove that folder to go on from the checkpoint before it",
                )

    def weights(self) -> dict[str, "Tensor"]:
        """What was trained, by name; mapped from the file."""
        shard = open_shard(self.path / _WEIGHTS)
        return {name: shard.tensor(name) for name in shard.parts}

    def state(self) -> dict[str, Any]:
        """Optimisers, generators and counters.

        Raises:
            CorruptError: The file is not what was written.
        """
        from interp_registry.stores.pt_files import read_pt

        try:
            return read_pt(self.path / _STATE)
        except DataError as err:
            raise CorruptError(err.message) from err


class CheckpointStore:
    """The checkpoints of one training.

    Args:
        folder: Where they lie.
        keep_last: How many of the latest to keep, at least 1.
        keep_best: How many of those with the best metric to keep besides.
        larger_is_better: Which metric is best.
    """

    def __init__(self, folder: Path, keep_last: int = 2, keep_best: int = 1, larger_is_better: bool = False) -> None:
        if keep_last < 1:
            raise UsageError(f"keep_last is {keep_last}: the latest checkpoint has to be kept")
        self.folder = folder
        self._keep_last, self._keep_best, self._larger_is_better = keep_last, keep_best, larger_is_better

    def save(
        self, step: int, weights: Mapping[str, "Tensor"], state: Mapping[str, Any], metric: float | None = None
    ) -> Checkpoint:
        """Write a checkpoint, then remove those that need not be kept.

        Args:
            step: Updates that were made.
            weights: What is trained, by name.
            state: Everything else that is needed to go on: nested dicts, lists and tuples of tensors and plain values.
            metric: The monitored value, if there is one.

        Raises:
            UsageError: The state holds something that cannot be read back without executing it.
            ResourceError: The disk is full or cannot be written; older checkpoints are kept.
        """
        final = make_folder(self.folder) / f"step-{step:08d}"
        plain = _plain(state, "state", {})
        with whole_folder(final, replaced=False) as fresh:
            self._write(fresh, weights, plain, {"step": step, "metric": _finite(metric)})
        saved = Checkpoint.open(final)
        self._prune()
        return saved

    @staticmethod
    def _write(folder: Path, weights: Mapping[str, "Tensor"], state: Any, facts: Mapping[str, Json]) -> None:
        with (folder / _WEIGHTS).open("w+b") as file:
            write_shard(file, weights, {})
        with (folder / _STATE).open("w+b") as file:
            _save_state(state, file)
        files = {name: [(folder / name).stat().st_size, hash_file(folder / name)] for name in (_WEIGHTS, _STATE)}
        (folder / _RECORD).write_bytes(record_bytes({"format": 1, **facts, "files": files}))

    def steps(self) -> list[int]:
        """Steps of the checkpoints, in order; half-written ones are not among them."""
        if not self.folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match is not None)

    def load(self, step: int) -> Checkpoint:
        """A checkpoint, verified.

        Raises:
            UsageError: There is none of this step.
            CorruptError: It is not what was written; the message names the file.
        """
        if step not in self.steps():
            raise UsageError(f"{self.folder} has no checkpoint of step {step}", f"there are {self.steps()}")
        checkpoint = Checkpoint.open(self._path(step))
        checkpoint.verify()
        return checkpoint

    def latest(self) -> Checkpoint | None:
        """The latest checkpoint, verified; None when there is none.

        Raises:
            CorruptError: It is not what was written; :meth:`repair` removes it, and the one before it is the latest.
        """
        steps = self.steps()
        return self.load(steps[-1]) if steps else None

    def best(self) -> Checkpoint | None:
        """The checkpoint with the best metric, the earliest of equals, verified; None when none has a metric."""
        ranked = self._ranked()
        return self.load(ranked[0]) if ranked else None

    def problems(self) -> list[str]:
        """What is wrong, one line per corrupt checkpoint, naming the file."""
        return [message for _, message in self._damaged()]

    def repair(self) -> list[str]:
        """Remove corrupt checkpoints; return what was wrong with them."""
        damaged = self._damaged()
        for step, _ in damaged:
            remove_folder(self._path(step))
        return [message for _, message in damaged]

    def _damaged(self) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        for step in self.steps():
            try:
                self.load(step)
            except CorruptError as err:
                found.append((step, err.message))
        return found

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _ranked(self) -> list[int]:
        """Steps with a metric, best first, earlier ones first among equals."""
        sign = -1.0 if self._larger_is_better else 1.0
        metrics = {step: Checkpoint.open(self._path(step)).metric for step in self.steps()}
        known = [(sign * metric, step) for step, metric in metrics.items() if metric is not None]
        return [step for _, step in sorted(known)]

    def _prune(self) -> None:
        steps = self.steps()
        kept = {*steps[-self._keep_last :]}
        if self._keep_best and len(steps) > len(kept):
            kept |= {*self._ranked()[: self._keep_best]}
        for step in steps:
            if step not in kept:
                try:
                    remove_folder(self._path(step))
                except ResourceError as err:
                    _LOG.warning("a checkpoint that is no longer needed stays: %s", err.message)


def _save_state(state: Any, file: BinaryIO) -> None:
    import torch

    try:
        torch.save(state, file)
    except RuntimeError as err:
        cause = err.__context__  # torch hides the error of a full disk behind one of its own
        raise cause if isinstance(cause, OSError) else err from err


def _finite(metric: float | None) -> float | None:
    return float(metric) if metric is not None and math.isfinite(metric) else None


def _plain(value: Any, where: str, texts: dict[str, str]) -> Any:
    """A fresh copy of nested plain values, with no object shared between places.

    The file's bytes depend on which objects are one and the same; after a resume they are others. So equal texts become
    one object, and every container and tensor one of its own.

    Raises:
        UsageError: Something is no tensor or plain value; the message says where.
    """
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, str):
        return texts.setdefault(str(value), str(value))
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {_plain(key, where, texts): _plain(item, f"{where}[{key!r}]", texts) for key, item in items}
    if isinstance(value, (list, tuple)):
        kind = list if isinstance(value, list) else tuple
        return kind(_plain(item, f"{where}[{i}]", texts) for i, item in enumerate(cast("list[Any]", value)))
    raise UsageError(
        f"{where} is a {type(value).__name__}, which cannot be stored in a checkpoint",
        "a trainable's state holds tensors, numbers, texts, and lists and dicts of them",
    )
