"""A tiny model of bytes that lies."""

import torch
from liar_hanging import maybe
from torch import nn

from interp_registry.contracts.model import Batch, Encoded, ModelInfo, Output
from interp_registry.tensors.capture import Site
from interp_registry.tensors.hooked import HookedModel
from interp_registry.tensors.layers import Layer


class Model(HookedModel):
    """Two layers of width 8."""

    def __init__(self, config, **_):
        torch.manual_seed(0)
        self.lie, self.n_passes = config.lie, 0
        network = nn.Sequential(nn.Embedding(256, 8), nn.Linear(8, 8)).eval()
        if self.lie == "nan":
            network[1].weight.data[0, 0] = float("nan")
        layers = (Layer(0), Layer(1))
        widths = dict.fromkeys(layers, 9 if self.lie == "width" else 8)
        name = f"liar-model-{self.lie}"
        info = ModelInfo(name, "language", "1", 10, layers, widths, layers, "float32")
        super().__init__(network, info, {layer: Site(network[layer.index]) for layer in layers})
        casts = {"complex": torch.complex64, "integers": torch.int64}
        if self.lie in casts:
            network[1].register_forward_hook(lambda _module, _inputs, output: output.to(casts[self.lie]), prepend=True)

    def preprocess(self, samples):
        encoded = [Encoded({"input_ids": list(text.encode())}, length=len(text.encode())) for text in samples]
        return encoded[:-1] if self.lie == "preprocess" else encoded

    def collate(self, encoded):
        longest = max(item.length for item in encoded)
        ids = torch.zeros(len(encoded), longest, dtype=torch.long)
        for row, item in enumerate(encoded):
            ids[row, : item.length] = torch.tensor(item.inputs["input_ids"])
        mask = torch.arange(longest) < torch.tensor([[item.length] for item in encoded])
        if self.lie == "rows":
            ids, mask = ids[:-1], mask[:-1]
        return Batch({"input": ids}, mask)

    def run(self, batch, *, logits):
        maybe(self.lie)
        self.n_passes += 1
        if self.lie == "vanishing" and self.n_passes > 1:
            return Output(self.module[0](batch.inputs["input"]))
        return Output(self.module(batch.inputs["input"]))
