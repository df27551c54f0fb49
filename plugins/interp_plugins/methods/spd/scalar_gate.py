"""One small MLP of one scalar per component, for all components at once, without storing hidden activations.

The usual formulation builds tensors of rows x components x hidden units half a dozen times per step and is bound by
memory. Here the forward pass keeps only its inputs and walks over chunks of rows that stay in cache; the backward pass
computes the hidden activations again. The mathematics is unchanged: exact (erf) GELU, sums in another order.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows, ``c`` components, ``h`` hidden units.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.compiled import kernel_library

__all__ = ["plain_scalar_gate", "scalar_gate"]

_CHUNK_ELEMENTS = 131_072
_SQRT_HALF = math.sqrt(0.5)
_DENSITY_SCALE = 1 / math.sqrt(2 * math.pi)


def plain_scalar_gate(
    h: Float[Tensor, "*r n c"],
    w1: Float[Tensor, "*r c h"],
    b1: Float[Tensor, "*r c h"],
    w2: Float[Tensor, "*r c h"],
    b2: Float[Tensor, "*r c"],
) -> Float[Tensor, "*r n c"]:
    """Return ``sum_j w2_j gelu(w1_j h + b1_j) + b2`` per component, through autograd; the slow, obvious form."""
    hidden = F.gelu(h.unsqueeze(-1) * w1.unsqueeze(-3) + b1.unsqueeze(-3))
    return (hidden * w2.unsqueeze(-3)).sum(-1) + b2.unsqueeze(-2)


class _ChunkedGate(torch.autograd.Function):
    """The same function in chunks of rows, recomputing the hidden activations in the backward pass."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        """Compute chunk after chunk; save the inputs only.

        Returns:
            Pre-activations of the importances.
        """
        ctx.save_for_backward(h, w1, b1, w2)
        out = torch.empty_like(h)
        for rows in _row_chunks(h, w1.shape[-1]):
            out[..., rows, :] = plain_scalar_gate(h[..., rows, :], w1, b1, w2, b2)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        """Recompute each chunk's hidden layer and add up the weight gradients.

        Returns:
            Gradients of all five inputs.
        """
        h, w1, b1, w2 = ctx.saved_tensors
        grad = grads[0]
        grad_h = torch.empty_like(h)
        sums = [torch.zeros_like(w1) for _ in range(3)]
        for rows in _row_chunks(h, w1.shape[-1]):
            x, g = h[..., rows, :].unsqueeze(-1), grad[..., rows, :].unsqueeze(-1)
            u = x * w1.unsqueeze(-3) + b1.unsqueeze(-3)
            cdf = 0.5 * (1 + torch.erf(u * _SQRT_HALF))
            sums[2] += (g * (u * cdf)).sum(-3)
            du = (cdf + u * (_DENSITY_SCALE * torch.exp(-0.5 * u * u))) * w2.unsqueeze(-3)
            grad_h[..., rows, :] = grad[..., rows, :] * (du * w1.unsqueeze(-3)).sum(-1)
            du = du * g
            sums[1] += du.sum(-3)
            sums[0] += (du * x).sum(-3)
        return grad_h, *sums, grad.sum(-2)


def _row_chunks(h: Tensor, n_hidden: int) -> list[slice]:
    """Split the rows so that one chunk's hidden layer stays in cache."""
    n_rows = h.shape[-2]
    per_row = max(1, h.numel() // max(1, n_rows)) * n_hidden
    size = max(8, _CHUNK_ELEMENTS // per_row)
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


class _CompiledGate(torch.autograd.Function):
    """The same function by two compiled loops (CPU, float32)."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        """Run the forward loop.

        Returns:
            Pre-activations of the importances.
        """
        inputs = [t.contiguous() for t in (h, w1, b1, w2, b2)]
        ctx.save_for_backward(*inputs[:4])
        library = kernel_library()
        if library is None:  # pragma: no cover - scalar_gate() asked before
            msg = "the compiled gate was chosen but its library is gone"
            raise RuntimeError(msg)
        return library.gate_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        """Run the backward loop.

        Returns:
            Gradients of all five inputs.
        """
        library = kernel_library()
        if library is None:  # pragma: no cover - scalar_gate() asked before
            msg = "the compiled gate was chosen but its library is gone"
            raise RuntimeError(msg)
        h, w1, b1, w2 = ctx.saved_tensors
        return library.gate_backward(h, w1, b1, w2, grads[0].contiguous())


def scalar_gate(
    h: Float[Tensor, "*r n c"],
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    kernel: str = "auto",
) -> Float[Tensor, "*r n c"]:
    """Return ``sum_j w2_j gelu(w1_j h + b1_j) + b2`` per component.

    Args:
        h: Inner activations of all components.
        weights: ``w1``, ``b1``, ``w2`` of shape (runs, components, hidden) and ``b2`` of shape (runs, components).
        kernel: ``auto`` (compiled where a compiler is there, else chunks), ``compiled``, ``chunked`` or ``plain``.
    """
    if kernel == "plain":
        w1, b1, w2, b2 = weights
        return plain_scalar_gate(h, w1, b1, w2, b2)
    fits = h.device.type == "cpu" and h.dtype == torch.float32
    if kernel in ("auto", "compiled") and fits and kernel_library() is not None:
        return _CompiledGate.apply(h, *weights)  # type: ignore[no-any-return]
    return _ChunkedGate.apply(h, *weights)  # type: ignore[no-any-return]
