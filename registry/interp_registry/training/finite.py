"""Whether a training is one of numbers: its rates, which loss was the first that was none, and whether the weights still are."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp_registry.errors import InterpError, UsageError

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["LossWatch", "require_finite_weights", "require_usable_rates"]

_LATER = "a smaller learning rate or clip_norm may help"
_AT_ONCE = "no weight had been changed yet: look for NaN or infinities in the model and the data, and at the settings"


class LossWatch:
    """Remembers the losses since it last looked. Reading one waits for an accelerator, so they are read a few at a time."""

    def __init__(self) -> None:
        self._losses: list[tuple[int, Tensor | float]] = []

    def note(self, step: int, losses: Mapping[str, Tensor | float]) -> None:
        """Remember the loss of a step, counted from 1."""
        self._losses.append((step, losses.get("loss", 0.0)))

    def look(self) -> None:
        """Read what was noted, and forget it.

        Raises:
            InterpError: A loss was not finite; the first such step is named.
        """
        noted, self._losses = self._losses, []
        for step, loss in noted:
            if not math.isfinite(value := float(loss)):
                raise InterpError(f"the loss is {value} at step {step}", _AT_ONCE if step == 1 else _LATER)


def require_usable_rates(optimisers: "Iterable[Optimizer]") -> None:
    """Refuse learning rates that the numbers of the weights cannot express: torch ends in an overflow of its own.

    Raises:
        UsageError: One is beyond float32, or no number.
    """
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        rate = float(group["lr"])
        if not abs(rate) <= torch.finfo(torch.float32).max:
            raise UsageError(
                f"a learning rate of {rate:g} cannot be used", "give a smaller one, or a smaller factor of it"
            )


def require_finite_weights(optimisers: "Iterable[Optimizer]", step: int) -> None:
    """Refuse trained weights that are not numbers: they must not pass for a checkpoint or a result.

    Raises:
        InterpError: One is not finite.
    """
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        if not all(bool(parameter.isfinite().all()) for parameter in group["params"]):
            raise InterpError(f"the trained weights are not finite after step {step}", _LATER)
