"""Two fused passes of a decomposition step: inner activations under masks, and batch sums of importances.

Both are one pass through memory where a compiled kernel is there, and a few torch operations elsewhere; same mathematics.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows (or batch and position), ``c`` components.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.compiled import even_rows, kernel_library, usable
from interp_plugins.methods.spd.sigmoids import upper_leaky_hard

__all__ = ["fired_sums", "masked_inner"]


class _MaskedInner(torch.autograd.Function):
    """``h * (ci + (1 - ci) * source - share)`` and its gradients for h and ci, by compiled loops."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, ci: Tensor, source: Tensor, share: Tensor | None) -> Tensor:
        """Run the forward loop.

        Returns:
            The masked activations.
        """
        even = [even_rows(t) for t in (h, ci, source)]
        share = None if share is None else share.contiguous()
        ctx.save_for_backward(*even, *([] if share is None else [share]))
        return _library().masked_forward(*even, share)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Run the backward loop.

        Returns:
            Gradients of h and ci.
        """
        h, ci, source, *share = ctx.saved_tensors
        grad_h, grad_ci = _library().masked_backward(grads[0].contiguous(), h, ci, source, share[0] if share else None)
        return grad_h, grad_ci, None, None


class _FiredSums(torch.autograd.Function):
    """Batch sums of ``upper(z) + eps`` or of its square, by compiled loops."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, weights: Tensor | None, run_dims: int, power: float, eps: float) -> Tensor:
        """Run the forward loop.

        Returns:
            Sums per run and component.
        """
        z = z.contiguous()
        ctx.save_for_backward(z, *([] if weights is None else [weights]))
        ctx.eps, ctx.squared = eps, power == 2.0
        return _library().fired_forward(z, weights, run_dims, eps, ctx.squared)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Run the backward loop.

        Returns:
            The gradient of z.
        """
        z, *weights = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_z = _library().fired_backward(z, weights[0] if weights else None, grad, ctx.eps, ctx.squared)
        return grad_z, None, None, None, None


def _library() -> Any:
    library = kernel_library()
    if library is None:  # pragma: no cover - the callers asked before
        msg = "the compiled kernels were chosen but their library is gone"
        raise RuntimeError(msg)
    return library


def masked_inner(
    h: Float[Tensor, "*r n c"],
    ci: Float[Tensor, "*r n c"],
    source: Float[Tensor, "*r n c"],
    share: Float[Tensor, "*r n"] | None = None,
) -> Float[Tensor, "*r n c"]:
    """Return ``h * (ci + (1 - ci) * source - share)``: activations under interpolated masks.

    Args:
        h: Inner activations.
        ci: Causal importances.
        source: Mask sources; a gradient for them (an adversary's) takes the slow path.
        share: What the delta component takes off every mask of a row.
    """
    if not source.requires_grad and h.shape == ci.shape == source.shape and usable(h, ci, source) is not None:
        return _MaskedInner.apply(h, ci, source, share)  # type: ignore[no-any-return]
    mask = ci + (1 - ci) * source
    return h * (mask if share is None else mask - share.unsqueeze(-1))


def fired_sums(
    z: Float[Tensor, "*r n c"],
    weights: Float[Tensor, "*r n"] | None,
    run_dims: int,
    power: float,
    eps: float,
) -> Float[Tensor, "*r c"]:
    """Return ``sum_n weight_n (upper(z) + eps)^power`` with the upper leaky hard sigmoid, per component.

    Args:
        z: Unbounded importances.
        weights: Rows that each row stands for.
        run_dims: Number of leading run dimensions.
        power: Exponent; 1 and 2 are one pass.
        eps: Added before the power.
    """
    library = usable(z) if power in (1.0, 2.0) and (weights is None or weights.dtype == z.dtype) else None
    if library is not None:
        return _FiredSums.apply(z, weights, run_dims, power, eps)  # type: ignore[no-any-return]
    fired = (upper_leaky_hard(z) + eps) ** power
    if weights is not None:
        fired = fired * weights.unsqueeze(-1)
    return fired.sum(tuple(range(run_dims, z.dim() - 1)))
