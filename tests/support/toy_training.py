"""A small model with dropout, two optimisers and noise of its own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from interp_registry.tensors.seeding import generator


class Toy:
    """Learns to add its inputs; every source of randomness that a trainable may have is in it."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        init = generator(seed, "init")
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Tanh())
        self.head = nn.Linear(8, 1)
        with torch.no_grad():
            for parameter in [*self.body.parameters(), *self.head.parameters()]:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=init))
        self.noise = generator(seed, "noise")
        self._optimisers = {
            "body": torch.optim.AdamW(self.body.parameters(), lr=0.02),
            "head": torch.optim.SGD(self.head.parameters(), lr=0.05, momentum=0.9, nesterov=True),
        }
        self.trace: list[float] = []

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return self._optimisers

    def step(self, i: int) -> dict[str, Tensor | float]:
        x = torch.randn(16, 4, generator=generator(self.seed, "data", i))
        noise = 0.01 * torch.randn(16, 1, generator=self.noise)
        error = self.head(self.body(x)) - x.sum(1, keepdim=True) + noise
        loss = error.square().mean()
        self.trace.append(loss.item())
        return {"loss": loss, "largest": error.detach().abs().max().item()}

    def evaluate(self, step: int) -> dict[str, float]:
        x = torch.randn(32, 4, generator=generator(self.seed, "validation"))
        self.body.eval()
        error = (self.head(self.body(x)) - x.sum(1, keepdim=True)).square().mean().item()
        self.body.train()
        return {"error": error}

    def state(self) -> dict[str, Any]:
        weights = {f"{name}.{key}": value for name in ("body", "head") for key, value in self._part(name).items()}
        return {"weights": weights, "noise": self.noise.get_state()}

    def load(self, state: Mapping[str, Any]) -> None:
        for name in ("body", "head"):
            prefix = f"{name}."
            part = {k.removeprefix(prefix): v for k, v in state["weights"].items() if k.startswith(prefix)}
            getattr(self, name).load_state_dict(part)
        self.noise.set_state(state["noise"])

    def _part(self, name: str) -> dict[str, Tensor]:
        return getattr(self, name).state_dict()
