"""Data that is already in memory: lists of texts or images given from Python."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from interp_registry.contracts.data import Dataset, ImageSample, SampleModality, TextSample
from interp_registry.errors import DataError

__all__ = ["ListDataset", "as_dataset"]


class ListDataset(Dataset):
    """A list of typed samples.

    Args:
        samples: The samples.
        name: Short name.
        modalities: What they can give a model.
    """

    def __init__(self, samples: Sequence[Any], name: str, modalities: frozenset[SampleModality]) -> None:
        self.samples, self.name, self.modalities = list(samples), name, modalities

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def as_dataset(data: Sequence[Any], name: str = "list") -> ListDataset:
    """A list of texts or of PIL images as a data set.

    Raises:
        DataError: The list is empty, or mixes kinds.
    """
    if len(data) == 0:
        raise DataError("the list of samples is empty")
    if all(isinstance(item, str) for item in data):
        return ListDataset([TextSample(str(i), text) for i, text in enumerate(data)], name, frozenset({"language"}))
    if all(isinstance(item, Image.Image) for item in data):
        return ListDataset([ImageSample(str(i), image) for i, image in enumerate(data)], name, frozenset({"vision"}))
    kinds = sorted({type(item).__name__ for item in data})
    raise DataError(f"a list of {', '.join(kinds)} is no data set", "give texts only, or PIL images only")
