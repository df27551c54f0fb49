"""Attributions from component to component: gradient times activation, summed over data.

The attribution of component s of an earlier module to component t of a later one is ``sum over rows of dh_t / d(h_s) h_s``: how
much of t's inner activation passes through s, to first order, with the model's other paths as they are. Run through components
with no masks and the delta component on, so that activations are the target's own.

Axis letters: ``c`` source components, ``t`` target components.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.factored import Rows
from interp_plugins.methods.spd.step import Step

__all__ = ["attribute"]


def attribute(step: Step, source: str, target: str, targets: list[int]) -> Float[Tensor, "c t"]:
    """Return the mean absolute attribution per row of all components of one module to some of a later one.

    Args:
        step: Activations of a batch.
        source: The earlier module.
        target: The later module.
        targets: Components of the later module.
    """
    model = step.model
    scale = torch.ones_like(step.inner[model.index[source]]).requires_grad_()
    with torch.enable_grad():
        later = _inner_of(model, step, source, target, scale)
        columns = []
        for component in targets:
            (grad,) = torch.autograd.grad(later[..., component].sum(), scale, retain_graph=True)
            per_row = grad.flatten(0, -2).abs()
            if step.row_weights is not None:
                per_row = per_row * step.row_weights.unsqueeze(-1)
            columns.append(per_row.sum(0) / step.n_rows)
    return torch.stack(columns, -1)


def _inner_of(model: Decomposition, step: Step, source: str, target: str, scale: Tensor) -> Tensor:
    """Return the target's inner activations as a function of factors on the source's."""
    seen: dict[str, Rows] = {}
    i, j = model.index[source], model.index[target]
    h, output = step.inner[i].detach(), step.known.outputs[source]
    u = model.u(source)

    def at_module(name: str, x: Rows, original: object) -> Rows:
        if name == model.sites[j].module:
            seen[target] = x
        if name == model.sites[i].module:
            from interp_plugins.methods.spd.factored import written_out

            return written_out(output) + (h * (scale - 1)) @ u
        return original(x)  # type: ignore[operator]

    model.target.forward(step.known.batch, at_module)
    return seen[target] @ model.v(target)
