"""Several processes that share a batch, with the mathematics of one.

Every process draws the whole batch and all masks from the same generators and keeps its own rows. A loss is the sum of what the
processes return: losses of rows add up by themselves, everything else is divided by the number of processes. Gradients are
summed.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.spd.randomness import Draws

__all__ = ["Share", "SharedDraws"]


@dataclass(frozen=True)
class Share:
    """Which part of every batch this process computes.

    Attributes:
        rank: Number of this process.
        n_processes: How many there are.
    """

    rank: int = 0
    n_processes: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is one process only."""
        return self.n_processes == 1

    def rows(self, n_rows: int) -> tuple[int, int]:
        """Return the first of this process's rows and how many there are; the parts are as even as can be."""
        start, stop = (n_rows * (self.rank + i) // self.n_processes for i in (0, 1))
        return start, stop - start

    def take(self, values: Tensor, dim: int) -> Tensor:
        """Return this process's rows."""
        return values if self.alone else values.narrow(dim, *self.rows(values.shape[dim]))

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over processes, without a gradient."""
        summed = values.detach().clone()
        if not self.alone:
            torch.distributed.all_reduce(summed)
        return summed

    def total_with_gradient(self, local: Tensor) -> Tensor:
        """Return the sum over processes, whose gradient reaches the local part ``n_processes`` times.

        A function of it, divided by the number of processes, then has the right value and gradient in the sum over processes.
        """
        return local if self.alone else self.total(local) + self.n_processes * (local - local.detach())

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over processes; one exchange for all."""
        if self.alone:
            return
        held = [p for p in parameters if p.requires_grad]
        for parameter in held:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = self.total(torch.cat([p.grad.flatten() for p in held if p.grad is not None]))
        for parameter, part in zip(held, flat.split([p.numel() for p in held]), strict=True):
            parameter.grad = part.view_as(parameter)

    def global_values(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum of each term over processes."""
        if self.alone or not terms:
            return dict(terms)
        summed = self.total(torch.stack([value.detach().to(torch.float64) for value in terms.values()]))
        return dict(zip(terms, summed, strict=True))


class SharedDraws(Draws):
    """Draws for the whole batch, of which the rows of this process are handed out.

    Args:
        generator: In the same state in every process.
        share: The part of this process.
        n_rows: Rows of the whole batch.
        run_dims: Number of leading run dimensions.
    """

    def __init__(self, generator: torch.Generator, share: Share, n_rows: int, run_dims: int) -> None:
        super().__init__(generator)
        self.share, self.n_rows, self.run_dims = share, n_rows, run_dims

    def uniform(self, shape: Sequence[int], rows_after: int | None = 0) -> Float[Tensor, "..."]:
        """Draw uniform numbers in [0, 1)."""
        dim, whole = self._whole(shape, rows_after)
        drawn = super().uniform(whole)
        return drawn if dim is None else self.share.take(drawn, dim)

    def integers(self, low: int, high: int, shape: Sequence[int], rows_after: int | None = 0) -> Int[Tensor, "..."]:
        """Draw integers from ``low`` to ``high - 1``."""
        dim, whole = self._whole(shape, rows_after)
        drawn = super().integers(low, high, whole)
        return drawn if dim is None else self.share.take(drawn, dim)

    def _whole(self, shape: Sequence[int], rows_after: int | None) -> tuple[int | None, list[int]]:
        """Return which dimension holds rows, and the shape for the rows of all processes."""
        if rows_after is None or self.share.alone:
            return None, list(shape)
        dim, whole = self.run_dims + rows_after, list(shape)
        whole[dim] = self.n_rows
        return dim, whole
