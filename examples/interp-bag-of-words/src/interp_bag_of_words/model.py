"""The models: an embedding of hashed trigrams and layers that average neighbouring words."""

import hashlib
from collections.abc import Sequence

import torch
from interp_registry.contracts.model import Batch, Encoded, ModelInfo, Output
from interp_registry.errors import DataError
from interp_registry.tensors.capture import Site
from interp_registry.tensors.hooked import HookedModel
from interp_registry.tensors.layers import Layer
from torch import Tensor, nn

from interp_bag_of_words import BagConfig

BUCKETS = 4096


class Mix(nn.Module):
    """Average of a word and its two neighbours, then a random rotation."""

    def __init__(self, rotation: Tensor) -> None:
        super().__init__()
        self.rotation = nn.Parameter(rotation, requires_grad=False)

    def forward(self, words: Tensor) -> Tensor:
        """Mix words [b, t, d]."""
        padded = nn.functional.pad(words, (0, 0, 1, 1))
        return torch.tanh((padded[:, :-2] + words + padded[:, 2:]) / 3 @ self.rotation)


class BagNetwork(nn.Module):
    """Sum of the random vectors of a word's trigrams, then layers of mixing; padding stays zero."""

    def __init__(self, config: BagConfig) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(config.seed)
        self.table = nn.EmbeddingBag(BUCKETS + 1, config.width, mode="sum", padding_idx=BUCKETS)
        with torch.no_grad():
            self.table.weight.copy_(torch.randn(self.table.weight.shape, generator=generator))
            self.table.weight[BUCKETS] = 0
        squares = [torch.randn(config.width, config.width, generator=generator) for _ in range(config.depth)]
        self.layers = nn.ModuleList(Mix(torch.linalg.qr(square).Q) for square in squares)
        self.words = nn.Identity()

    def forward(self, trigrams: Tensor, mask: Tensor) -> Tensor:
        """Features [b, t, d] of trigram numbers [b, t, g]."""
        b, t, g = trigrams.shape
        hidden = self.words(self.table(trigrams.reshape(b * t, g)).reshape(b, t, -1))
        for layer in self.layers:
            hidden = layer(hidden * mask[..., None])
        return hidden


class BagModel(HookedModel):
    """A language model in the sense of interp: texts in, activations at every layer out."""

    def __init__(self, config: BagConfig, **_: object) -> None:
        network = BagNetwork(config).eval()
        layers = [Layer(i) for i in range(config.depth + 1)]
        sites = {layers[0]: Site(network.words)}
        sites |= {layer: Site(network.layers[i]) for i, layer in enumerate(layers[1:])}
        info = ModelInfo(
            name=f"bag-{config.width}",
            modality="language",
            revision=f"seed-{config.seed}-depth-{config.depth}",
            n_params=sum(p.numel() for p in network.parameters()),
            layers=tuple(layers),
            widths=dict.fromkeys(layers, config.width),
            default_layers=tuple(layers),
            dtype="float32",
        )
        super().__init__(network, info, sites)

    def preprocess(self, samples: Sequence[str]) -> list[Encoded]:
        """Trigram numbers of each word of each text."""
        return [self._encode(i, text) for i, text in enumerate(samples)]

    def _encode(self, index: int, text: str) -> Encoded:
        words = text.split()
        if not words:
            raise DataError(f"text {index} has no words")
        numbers = [[_bucket(f"^{word}$"[k : k + 3]) for k in range(len(word))] for word in words]
        return Encoded({"trigrams": numbers}, length=len(words), n_bytes=len(text.encode()))

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Pad words and trigrams with the empty bucket."""
        t = max(item.length for item in encoded)
        g = max(len(word) for item in encoded for word in item.inputs["trigrams"])
        trigrams = torch.full((len(encoded), t, g), BUCKETS)
        mask = torch.zeros(len(encoded), t, dtype=torch.bool)
        for row, item in enumerate(encoded):
            mask[row, : item.length] = True
            for column, word in enumerate(item.inputs["trigrams"]):
                trigrams[row, column, : len(word)] = torch.tensor(word)
        return Batch({"trigrams": trigrams, "mask": mask}, mask)

    def run(self, batch: Batch, *, logits: bool) -> Output:
        """One forward pass."""
        return Output(last_hidden=self.module(batch.inputs["trigrams"], batch.inputs["mask"]))


def _bucket(trigram: str) -> int:
    return int.from_bytes(hashlib.sha256(trigram.encode()).digest()[:4], "big") % BUCKETS
