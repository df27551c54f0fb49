"""Training and held-out pairs.

Axis letters: b pairs of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from interp_plugins.datasets.image_text.base import check_captions
from interp_registry.contracts.data import CaptionedImage, Dataset
from interp_registry.errors import DataError, UsageError
from interp_registry.tensors.seeding import generator

__all__ = ["ImagesOf", "PairSampler", "captions_of", "split_validation"]


def split_validation(dataset: Dataset, n_validation: int, seed: int) -> tuple[list[int], list[int]]:
    """Rows for training and rows kept for validation, drawn without overlap.

    Raises:
        DataError: Nothing would be left to train on.
        UsageError: The samples are no images with captions.
    """
    if not isinstance(dataset[0], CaptionedImage):
        raise UsageError(
            f"{dataset.name!r} has samples of type {type(dataset[0]).__name__}", "train on images with captions"
        )
    if n_validation >= len(dataset):
        raise DataError(
            f"{dataset.name!r} has {len(dataset)} pairs, {n_validation} of them for validation", "lower --n-validation"
        )
    order = torch.randperm(len(dataset), generator=generator(seed, "validation split")).tolist()
    return sorted(order[n_validation:]), sorted(order[:n_validation])


def captions_of(dataset: Dataset, rows: Sequence[int]) -> list[tuple[str, ...]]:
    """All captions of some samples, checked."""
    captions = [dataset.captions_of(row) for row in rows]
    check_captions(dataset.name, [caption for of_row in captions for caption in of_row])
    return captions


class ImagesOf(Sequence[Any]):
    """The images of some samples, decoded whenever they are asked for, so that only those in use are in memory.

    Args:
        dataset: The data set.
        rows: Which samples.
    """

    def __init__(self, dataset: Dataset, rows: Sequence[int]) -> None:
        self._dataset, self._rows = dataset, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._dataset.image(row) for row in self._rows[index]]
        return self._dataset.image(self._rows[index])


@dataclass(frozen=True)
class PairSampler:
    """Draws the pairs of a step from the seed and the step's number alone.

    Attributes:
        dataset: All pairs.
        rows: Those to train on.
        batch_size: Pairs of a step in each process.
        seed: Seed of the run.
        rank: This process.
        n_processes: Number of processes; together they draw the batch that one with so many times the pairs would draw.
    """

    dataset: Dataset
    rows: Sequence[int]
    batch_size: int
    seed: int
    rank: int = 0
    n_processes: int = 1

    def batch(self, step: int) -> tuple[list[Any], list[str]]:
        """This process's images and one caption of each; no image twice, not in other processes either.

        Raises:
            DataError: There are fewer pairs than processes.
        """
        draws = generator(self.seed, "pairs", step)
        share = min(self.batch_size, len(self.rows) // self.n_processes)
        if not share:
            raise DataError(f"{len(self.rows)} pairs for {self.n_processes} processes", "lower --num-processes")
        size = share * self.n_processes
        if 8 * size >= len(self.rows):
            places = torch.randperm(len(self.rows), generator=draws)[:size].tolist()
        else:
            places = list(dict.fromkeys(torch.randint(len(self.rows), (2 * size,), generator=draws).tolist()))[:size]
        own = slice(self.rank * share, (self.rank + 1) * share)
        rows = [self.rows[place] for place in places[own]]
        which = torch.rand(size, generator=draws).tolist()[own]
        captions = [self.dataset.captions_of(row) for row in rows]
        texts = [of_row[int(where * len(of_row))] for where, of_row in zip(which, captions, strict=True)]
        return [self.dataset.image(row) for row in rows], texts
