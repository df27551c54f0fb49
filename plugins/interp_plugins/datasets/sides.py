"""What data sets share whose samples are texts, images, or images with texts."""

from typing import Any

from interp_registry.contracts.data import CaptionedImage, Dataset, ImageSample, TextSample

__all__ = ["SidedDataset"]


class SidedDataset(Dataset):
    """Samples of the type that ``modalities`` says, put together from ``key``, ``image`` and ``captions_of``."""

    def __getitem__(self, index: int) -> Any:
        key = self.key(index)
        if "vision" not in self.modalities:
            return TextSample(key, self.text(index))
        if "language" not in self.modalities:
            return ImageSample(key, self.image(index))
        return CaptionedImage(key, self.image(index), self.captions_of(index), self.origin(index))

    def origin(self, index: int) -> str:
        """Where a captioned image comes from; empty when that is not known."""
        del index
        return ""
