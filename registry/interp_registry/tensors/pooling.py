"""Poolings: from a layer's token activations to one vector per sample, in fp32, while the forward pass runs.

What each one means is the same for every modality; "tokens" are a text's tokens without padding, or a vision
transformer's class, register and patch tokens, or the places of a convolutional map.

Axes: b samples, t tokens, d width, h and w the height and width of a map.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp_registry.errors import UnknownNameError, UsageError

__all__ = ["POOLINGS", "PoolPlan", "Pooling", "as_tokens", "parse_pooling", "pool_tokens"]

Pooling = Literal["avg", "last", "first", "cls", "max", "patch-avg", "none"]
"""``avg`` mean of all tokens; ``last``, ``first`` the last and first token; ``cls`` the class token (the first one,
where a model has one); ``max`` maximum over tokens of each dimension; ``patch-avg`` mean without class and register
tokens; ``none`` all tokens."""

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


def parse_pooling(text: str) -> dict[str, tuple[Pooling, ...]]:
    """Read ``avg``, ``avg+last`` or ``language=avg+last,vision=cls`` into poolings per modality.

    Returns:
        ``{"language": (...), "vision": (...)}``; a modality that is not named keeps ``("avg",)``.

    Raises:
        UnknownNameError: No such pooling or modality.
        UsageError: Empty, or a plain pooling mixed with per-modality ones.
    """
    chosen: dict[str, tuple[Pooling, ...]] = {}
    for part in text.split(","):
        modality, equals, names = part.rpartition("=")
        if equals and modality.strip() not in {"language", "vision"}:
            raise UnknownNameError("modality", modality.strip(), ["language", "vision"], "--pool")
        poolings: tuple[Pooling, ...] = tuple(_known(name.strip()) for name in names.split("+"))
        for key in [modality.strip()] if equals else ["language", "vision"]:
            if key in chosen:
                raise UsageError(f"--pool {text!r} names a pooling for {key} twice", "join several with '+': avg+last")
            chosen[key] = poolings
    default: dict[str, tuple[Pooling, ...]] = {"language": ("avg",), "vision": ("avg",)}
    return default | chosen


def _known(name: str) -> Pooling:
    if name not in POOLINGS:
        raise UnknownNameError("pooling", name, POOLINGS, "--pool")
    return name


@dataclass(frozen=True)
class PoolPlan:
    """How to pool a batch: which tokens are real and how many of them are no patches."""

    mask: Bool[Tensor, "b t"] | None = None
    """True at real tokens; None when all are."""
    n_prefix_tokens: int = 0
    """Tokens before the patches of a vision transformer."""


def as_tokens(hidden: Tensor, *, spatial: bool) -> Float[Tensor, "b t d"]:
    """Activations as tokens: a map [b, d, h, w] becomes [b, h*w, d], one vector [b, d] becomes [b, 1, d]."""
    if spatial and hidden.ndim == 4:
        return hidden.flatten(2).transpose(1, 2)
    if hidden.ndim == 2:
        return hidden[:, None]
    return hidden.flatten(1, -2) if hidden.ndim > 3 else hidden


def pool_tokens(hidden: Float[Tensor, "b t d"], pooling: Pooling, plan: PoolPlan) -> Float[Tensor, "b d"]:
    """Pool tokens into one fp32 vector per sample.

    Sums run in fp32 whatever the type of ``hidden``. Padding, on the left or on the right, never takes part: a
    sample's vector is that of its real tokens alone.

    Args:
        hidden: Activations of one layer.
        pooling: Which pooling; ``none`` is the caller's affair.
        plan: Mask and prefix tokens.

    Raises:
        UsageError: ``patch-avg`` where no token is a patch, or ``none``.
    """
    match pooling:
        case "avg":
            return _mean(hidden, plan.mask)
        case "patch-avg":
            if hidden.shape[1] <= plan.n_prefix_tokens:
                raise UsageError("pooling 'patch-avg' needs patch tokens, and this model has none", "use avg or cls")
            mask = None if plan.mask is None else plan.mask[:, plan.n_prefix_tokens :]
            return _mean(hidden[:, plan.n_prefix_tokens :], mask)
        case "max":
            return _maximum(hidden, plan.mask).float()
        case "first" | "cls":
            return _pick(hidden, plan.mask, last=False).float()
        case "last":
            return _pick(hidden, plan.mask, last=True).float()
        case "none":
            raise UsageError("pooling 'none' keeps every token and gives no vector per sample")


def _mean(hidden: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"] | None) -> Float[Tensor, "b d"]:
    if mask is None:
        return hidden.mean(dim=1, dtype=torch.float32)
    weights = mask.to(torch.float32)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return torch.bmm(weights[:, None], hidden.float())[:, 0]


def _maximum(hidden: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"] | None) -> Float[Tensor, "b d"]:
    if mask is None:
        return hidden.amax(dim=1)
    return hidden.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)


def _pick(hidden: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"] | None, *, last: bool) -> Float[Tensor, "b d"]:
    if mask is None:
        return hidden[:, -1 if last else 0]
    # argmax gives the first True; counted from the end it gives the last one
    index = mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1) if last else mask.int().argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), index]
