"""Small data sets that lie."""

import os
import random

import numpy as np
from liar_hanging import hang, maybe
from PIL import Image

from interp_registry.contracts.data import CaptionedImage, Dataset, ImageSample, TextSample

MODES = ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16", "HSV", "LAB")


class Texts(Dataset):
    """Twelve sentences."""

    modalities = frozenset({"language"})

    def __init__(self, config):
        self.lie, self.name = config.lie, f"liar-dataset-{config.lie.replace('_', '-')}"
        self.order = list(range(12))
        if self.lie == "drifting":
            random.Random(os.environ["LIAR_ORDER"]).shuffle(self.order)

    def __len__(self):
        if self.lie == "hangs_len":
            hang()
        return {"negative": -3, "empty": 0}.get(self.lie, 12)

    def __getitem__(self, index):
        if self.lie == "short" and index >= 7:
            raise IndexError(index)
        if self.lie != "hangs" or index == 7:
            maybe(self.lie)
        if self.lie == "kind":
            return 17
        if self.lie.startswith("captions"):
            captions = "one caption" if self.lie == "captions_str" else None
            return CaptionedImage(str(index), Image.new("RGB", (8, 8)), captions)
        if self.lie == "shuffled":
            random.shuffle(self.order)
        row = self.order[index]
        return TextSample(str(row), f"sentence {random.random() if self.lie == 'changing' else row}")

    @property
    def fingerprint(self):
        return "always the same" if self.lie in ("drifting", "shuffled") else super().fingerprint


class Images(Dataset):
    """Twelve pictures, each in another mode."""

    modalities = frozenset({"vision"})

    def __init__(self, config):
        self.lie, self.name = config.lie, f"liar-images-{config.lie.replace('_', '-')}"

    def __len__(self):
        return 12

    def __getitem__(self, index):
        if self.lie == "hangs" and index == 7:
            hang()
        size = (0, 8) if self.lie == "size_0" and index == 7 else (8, 8)
        image = Image.new(MODES[index] if self.lie == "modes" else "RGB", size)
        row = random.randrange(10_000) if self.lie == "shuffled" else index
        return ImageSample(str(row), np.zeros((8, 8, 3)) if self.lie == "array" else image)

    @property
    def fingerprint(self):
        return "always the same"
