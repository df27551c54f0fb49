"""A lens that somebody else wrote: predicts each activation as a learned constant plus a scale times itself."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from interp_plugins.methods.lens.choices import LensConfig


@dataclass
class ConstantLensConfig(LensConfig):
    """A learned constant."""

    impl: ClassVar[str] = "fake_lens:ConstantLens"

    lr: float = 0.1
    """learning rate"""


class ConstantLens:
    """Reconstructs every activation as ``shift``."""

    def __init__(self, config, model, dump):
        self.config, self.model, self.dump = config, model, dump
        self.layers = dump.layers[:1]
        self.shift = torch.zeros(dump.width, requires_grad=True)

    def weights(self):
        return {"shift": self.shift}

    def load_weights(self, weights):
        self.shift = weights["shift"].clone().requires_grad_()

    def describe(self):
        return {"method": "constant", "layers": list(self.layers), "n_parameters": self.shift.numel()}

    def reconstruct(self, activations, layer):
        return self.shift.expand_as(activations)

    def trainable(self, dump, training, seed):
        return Training(self, dump, seed)


class Training:
    """Mean squared error."""

    def __init__(self, lens, dump, seed):
        self.lens, self.dump, self.seed = lens, dump, seed
        self.optimiser = torch.optim.Adam([lens.shift], lr=lens.config.lr)

    def optimisers(self):
        return {"lens": self.optimiser}

    def step(self, i):
        rows = self.dump.rows(self.dump.batch(i, 8, self.seed), self.lens.layers[0])
        return {"loss": (rows.activations - self.lens.shift).square().mean()}

    def state(self):
        return {"weights": {"shift": self.lens.shift.detach()}}

    def load(self, state):
        with torch.no_grad():
            self.lens.shift.copy_(state["weights"]["shift"])
