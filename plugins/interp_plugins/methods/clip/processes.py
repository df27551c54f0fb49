"""Rows of several processes put together, with gradients.

Axis letters: b rows of one process, p processes, d features.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

__all__ = ["of_all_processes"]


class _Gathered(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, x.contiguous())
        rank = torch.distributed.get_rank()
        ctx.own = slice(rank * len(x), (rank + 1) * len(x))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total[ctx.own]


def of_all_processes(x: Float[Tensor, "b d"]) -> Float[Tensor, "b*p d"]:
    """Rows of every process in the order of ranks; every process must have as many.

    Backward, the gradients of all processes are added up and each gets those of its own rows. Where every process computes the same
    loss of these rows, the mean of the processes' parameter gradients is then the gradient of that loss.
    """
    gathered: Any = _Gathered.apply(x)
    return gathered
