"""Squashing functions of causal importances, with the gradients that training needs.

A causal-importance function ends in an unbounded number ``z``. Masks use a *lower* squashing of it and the minimality
loss an *upper* one. Below zero a plain clamp has no gradient and a dead component could never come back, so the lower
function leaks one (``LEAK`` = 0.01) in its backward pass only; the upper one leaks above one, so that a saturated
importance can still be pushed down (Bushnaq, Braun and Sharkey 2025, appendix on the leaky hard sigmoids).

Axis letters: ``...`` any shape.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.compiled import usable

__all__ = ["LEAK", "hard", "leaky_hard", "lower_leaky_hard", "normal", "squashers", "swish_hard", "upper_leaky_hard"]

LEAK = 0.01
_SWISH_SHARPNESS = 10.0

Squash = Callable[[Float[Tensor, "..."]], Float[Tensor, "..."]]


class _LowerLeakyHard(torch.autograd.Function):
    """Clamp to [0, 1]; the backward pass leaks below zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, only_upwards: bool) -> Tensor:
        """Clamp, and remember the input.

        Returns:
            The clamped tensor.
        """
        ctx.save_for_backward(x)
        ctx.only_upwards = only_upwards
        return x.clamp(0.0, 1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Pass the gradient on (0, 1], leak it at or below zero, drop it above one.

        Returns:
            The gradient of the input, and none for the flag.
        """
        (x,), grad = ctx.saved_tensors, grads[0]
        library = usable(x, grad)
        if library is not None and x.is_contiguous():
            return library.lower_backward(x, grad.contiguous(), ctx.only_upwards), None
        below = LEAK * (grad.clamp(max=0.0) if ctx.only_upwards else grad)
        return torch.where(x <= 0, below, grad.masked_fill(x > 1, 0.0)), None


def lower_leaky_hard(x: Float[Tensor, "..."], *, only_upwards: bool = False) -> Float[Tensor, "..."]:
    """Clamp to [0, 1]; at ``x <= 0`` the gradient ``g`` becomes ``0.01 g``, on (0, 1] it stays, above 1 it is 0.

    Args:
        x: Unbounded importances.
        only_upwards: Leak only a negative gradient, the one whose descent step raises the importance (the rule of
            2026). False leaks both signs (the rule of the paper's later code, 2025).

    Returns:
        Importances in [0, 1].
    """
    return _LowerLeakyHard.apply(x, only_upwards)  # type: ignore[no-any-return]


def lower_leaky_signed(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return ``0.01 x`` below zero and ``min(x, 1)`` above, true gradient: the paper's first code; range (-inf, 1]."""
    return torch.where(x > 0, x.clamp(max=1.0), LEAK * x)


def upper_leaky_hard(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Clamp to [0, 1] below one and ``1 + 0.01 (x - 1)`` above it; range [0, inf), true gradient."""
    return torch.where(x > 1, 1 + LEAK * (x - 1), x.clamp(0.0, 1.0))


def leaky_hard(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return ``0.01 x`` below zero, ``x`` on [0, 1] and 1 above; range (-inf, 1], true gradient."""
    return torch.where(x > 0, x.clamp(0.0, 1.0), LEAK * x)


def hard(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Clamp to [0, 1]; no gradient outside."""
    return x.clamp(0.0, 1.0)


def normal(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the logistic sigmoid; range (0, 1)."""
    return torch.sigmoid(x)


def swish_hard(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return ``s(x) - s(x - 1)`` with ``s(x) = x sigmoid(10 x)``: a smooth hard sigmoid, about [0, 1]."""
    shifted = x - 1
    return x * torch.sigmoid(_SWISH_SHARPNESS * x) - shifted * torch.sigmoid(_SWISH_SHARPNESS * shifted)


def squashers(name: str, leak: str = "both") -> tuple[Squash, Squash]:
    """Return the (lower, upper) pair that a configured sigmoid stands for.

    Args:
        name: ``leaky_hard`` (the pair of leaky functions), ``upper_leaky_hard``, ``hard``, ``normal``, ``swish_hard``.
        leak: For ``leaky_hard``, the rule of the lower function below zero: ``both`` signs of the gradient leak,
            ``upwards`` only the one that raises the importance, ``signed`` the value leaks too.

    Raises:
        KeyError: For another name.
    """
    if name == "leaky_hard":
        return _lower_by_leak(leak), upper_leaky_hard
    single = {"normal": normal, "hard": hard, "upper_leaky_hard": upper_leaky_hard, "swish_hard": swish_hard}[name]
    return single, single


def _lower_by_leak(leak: str) -> Squash:
    def both(x: Tensor) -> Tensor:
        return lower_leaky_hard(x)

    def upwards(x: Tensor) -> Tensor:
        return lower_leaky_hard(x, only_upwards=True)

    return {"both": both, "upwards": upwards, "signed": lower_leaky_signed}[leak]
