"""AdamW that updates one parameter after the other.

Two factors on one storage are two parameters with moments of their own, and each update must see the one before: the mathematics
of the published code, where tying makes a matrix take two steps at once. It also costs a fraction of a general optimiser's
bookkeeping, which shows in toy models, and loads no compiler.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.spd.decomposition import Decomposition

__all__ = ["SequentialAdamW", "decomposition_optimiser"]


class SequentialAdamW:
    """Decoupled weight decay and Adam (Loshchilov and Hutter 2019), with the interface of a torch optimiser.

    Args:
        parameters: Updated in this order.
        rate: Learning rate.
        betas: Decay rates of the moments.
        eps: Added to the root of the second moment.
        weight_decay: Share of the rate by which parameters shrink.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        held = list(parameters)
        self.param_groups: list[dict[str, Any]] = [{"params": held, "lr": rate, "weight_decay": weight_decay}]
        self._betas, self._eps = betas, eps
        self._moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in held]
        self._steps = 0
        self._factors: Tensor | None = None

    def scale_runs(self, factors: Tensor) -> None:
        """Give every run, the first axis of all parameters, a rate of its own: a factor of the common one."""
        self._factors = None if bool((factors == 1).all()) else factors

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self.param_groups[0]["params"]:
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        group = self.param_groups[0]
        self._steps += 1
        beta1, beta2 = self._betas
        first = group["lr"] / (1 - beta1**self._steps)
        second = 1 / math.sqrt(1 - beta2**self._steps)
        for parameter, (mean, square) in zip(group["params"], self._moments, strict=True):
            grad = parameter.grad
            if grad is None:
                continue
            if group["weight_decay"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
            mean.lerp_(grad, 1 - beta1)
            square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            step = mean if self._factors is None else mean * self._factors.view(-1, *[1] * (mean.dim() - 1))
            parameter.addcdiv_(step, square.sqrt().mul_(second).add_(self._eps), value=-first)

    def state_dict(self) -> dict[str, Any]:
        """Return moments and count, for a checkpoint."""
        return {"steps": self._steps, "moments": [list(pair) for pair in self._moments]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self._steps = state["steps"]
        for mine, stored in zip(self._moments, state["moments"], strict=True):
            for moment, value in zip(mine, stored, strict=True):
                moment.copy_(value)


def decomposition_optimiser(model: Decomposition, rate: float, weight_decay: float = 0.0) -> SequentialAdamW:
    """Return AdamW (betas 0.9 and 0.999, eps 1e-8) over V and U of every site in order, then the importance functions."""
    parameters = [*model.component_parameters(), *model.importance.parameters()]
    return SequentialAdamW(parameters, rate, weight_decay=weight_decay)
