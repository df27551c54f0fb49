"""What a text bottleneck is trained for: pure functions of tensors, each with its gradient, in nats or as a share of the variance.

Axes: n rows, t explanation tokens, d width, v vocabulary.
"""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.consistency.generation import Generated

__all__ = ["FluencyForm", "divergence", "fluency", "relative_error", "resampled", "token_entropy"]

FluencyForm: TypeAlias = Literal["nll", "kl", "reverse_kl"]


def relative_error(
    reconstructions: Float[Tensor, "n d"], activations: Float[Tensor, "n d"], variance: float
) -> Float[Tensor, ""]:
    """Mean of ``|a - a_hat|^2 / variance``: 0 for a perfect reconstruction, 1 for the mean, so 1 minus it is the FVE.

    Args:
        reconstructions: After the bottleneck.
        activations: Before.
        variance: Mean of ``|a - mean|^2`` over the training rows.
    """
    return (reconstructions - activations).square().sum(-1).mean() / variance


def divergence(reference: Float[Tensor, "*n v"], logits: Float[Tensor, "*n v"]) -> Float[Tensor, "*n"]:
    """``KL(softmax(reference) || softmax(logits))`` in nats, at least 0 up to rounding; differentiable in both."""
    p, q = reference.log_softmax(-1), logits.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def token_entropy(logits: Float[Tensor, "*n v"]) -> Float[Tensor, ""]:
    """Mean entropy in nats of the distributions that tokens are drawn from, in [0, ln v]."""
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1).mean()


def fluency(written: Generated, base: Float[Tensor, "n k v"], form: FluencyForm) -> Float[Tensor, ""]:
    """How far explanations are from what the base model would write, mean nats per token.

    ``base[:, i]`` must be the base model's logits *for* the token that ``written.logits[:, i]`` drew: those after BOS and the tokens
    before it. Where the base model has no BOS, ``base`` lacks the first token, and it is left out of both.

    * ``nll``: ``-log p_base`` of the tokens that were written. Its floor is reached by the likeliest text; it leaves the decoder free to
      write a different likely text for every activation.
    * ``kl``: ``KL(base || decoder)``, the form of Consistency Lens. It is 0 only for a decoder that writes whatever the base model
      would, that is, one that says nothing about its activation.
    * ``reverse_kl``: ``KL(decoder || base)``.

    Args:
        written: Explanations.
        base: Logits of the base model, with the same tokens forbidden.
        form: Which of the three.
    """
    first = written.logits.shape[1] - base.shape[1]
    logits = written.logits[:, first:]
    if form == "kl":
        return divergence(base, logits).mean()
    if form == "reverse_kl":
        return divergence(logits, base).mean()
    logp = base.log_softmax(-1)
    if written.choices is None:
        return -logp.gather(-1, written.token_ids[:, first:, None]).mean()
    return -(written.choices[:, first:] * logp).sum(-1).mean()


def resampled(
    reconstructions: Float[Tensor, "n d"],
    partners: Float[Tensor, "n d"],
    partner_reconstructions: Float[Tensor, "n d"],
    *,
    stop_gradient: bool,
) -> Float[Tensor, "n d"]:
    """Resample ablation: what the partner's reconstruction leaves out is added, ``a_hat + (a' - a_hat')``.

    With ``a' = a`` it is ``a`` itself, whatever the bottleneck does.

    Args:
        reconstructions: Of each row.
        partners: Activations of other rows.
        partner_reconstructions: Their reconstructions.
        stop_gradient: No gradient to the partner's path.
    """
    rest = partners - partner_reconstructions
    return reconstructions + (rest.detach() if stop_gradient else rest)


def group_advantages(rewards: Float[Tensor, "n g"]) -> Float[Tensor, "n g"]:
    """Rewards of several explanations of one activation, standardised among themselves (Shao et al. 2024, GRPO); 0 where all are equal."""
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True, correction=0) + torch.finfo(rewards.dtype).eps)
