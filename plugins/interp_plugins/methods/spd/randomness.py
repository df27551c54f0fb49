"""Where the random numbers of a decomposition come from: explicit generators whose state is saved with a run.

Every draw of masks, routing and adversaries goes through one object, in a fixed order: first the sources of all
components in the order of the modules, then the delta masks, then the routing. Tests replace the object by one that
replays stored draws.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Draws"]


class Draws:
    """Uniform numbers, bits and integers from one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def component_sources(self, lead: Sequence[int], widths: Sequence[int], *, binary: bool) -> Float[Tensor, "... c"]:
        """Draw one source per component, all modules side by side.

        Args:
            lead: Leading shape (runs, rows, positions).
            widths: Components of each module.
            binary: Draw 0 or 1 with equal probability instead of uniform numbers in [0, 1).
        """
        shape = (*lead, sum(widths))
        if binary:
            return self.integers(0, 2, shape).to(torch.get_default_dtype())
        return self.uniform(shape)

    def delta_sources(self, lead: Sequence[int], n_modules: int) -> Float[Tensor, "... l"]:
        """Draw one uniform delta mask per row and module."""
        return self.uniform((*lead, n_modules))

    def uniform(self, shape: Sequence[int], rows_after: int | None = 0) -> Float[Tensor, "..."]:
        """Draw uniform numbers in [0, 1).

        Args:
            shape: Shape to draw.
            rows_after: How many dimensions besides runs stand before the rows; None if there are no rows. It is of no
                matter here: processes that share a batch go by it.
        """
        del rows_after
        return torch.rand(tuple(shape), generator=self.generator, device=self.generator.device)

    def integers(self, low: int, high: int, shape: Sequence[int], rows_after: int | None = 0) -> Int[Tensor, "..."]:
        """Draw integers from ``low`` to ``high - 1``; ``rows_after`` as for :meth:`uniform`."""
        del rows_after
        return torch.randint(low, high, tuple(shape), generator=self.generator, device=self.generator.device)
