"""AdamW over components and importance functions, with the order of updates that shared storage needs."""

import torch

from interp_plugins.methods.spd.decomposition import Decomposition

__all__ = ["decomposition_optimiser"]


def decomposition_optimiser(
    model: Decomposition, rate: float, weight_decay: float = 0.0, *, fused: bool = True
) -> torch.optim.AdamW:
    """Return AdamW (betas 0.9 and 0.999, eps 1e-8) over V and U of every site in order, then the importance functions.

    Two factors on one storage are two parameters with moments of their own and are updated one after the other: the
    mathematics of the published code, where tying makes a matrix take two steps at once. The fused update keeps that
    order on a CPU; ``foreach`` would read both before writing either.

    Args:
        model: The decomposition.
        rate: Learning rate.
        weight_decay: Decoupled weight decay.
        fused: Use torch's fused update.
    """
    parameters = [*model.component_parameters(), *model.importance.parameters()]
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay, fused=fused, foreach=False)
