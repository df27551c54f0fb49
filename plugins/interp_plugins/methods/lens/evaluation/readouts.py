"""Scores of lenses that predict: how far their next-token distribution is from the model's own.

Axes: n rows, v vocabulary.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.contract import ReadsOut
from interp_plugins.methods.lens.evaluation.effects import SwapMeter
from interp_plugins.methods.lens.evaluation.interventions import Case
from interp_plugins.methods.lens.evaluation.measures import agreement, cross_entropy, entropy, kl_divergence
from interp_registry.tensors.precision import to_float64

__all__ = ["Prediction", "model_prediction", "predictions"]


@dataclass(frozen=True)
class Prediction:
    """One row per activation; nats."""

    kl: Float[Tensor, "n"]
    """KL(model || lens)."""
    loss: Float[Tensor, "n"]
    """Surprisal of the text's next token; NaN at its last token."""
    entropy: Float[Tensor, "n"]
    """Entropy of the lens's distribution."""
    agrees: Float[Tensor, "n"]
    """1 where the most likely token is the model's."""


@torch.no_grad()
def predictions(lens: ReadsOut, case: Case, meter: SwapMeter) -> Prediction:
    """What the lens predicts at each row against what the model predicts there."""
    parts: list[Prediction] = []
    for where, final in meter.next_token_logits():
        logits = lens.readout(case.activations[where].to(final.device), case.layer).float().to(final.device)
        parts.append(_against(final, logits, meter.next_tokens(where).to(final.device)))
    return _joined(parts, meter)


@torch.no_grad()
def model_prediction(meter: SwapMeter) -> Prediction:
    """The model's own predictions: the KL is 0, loss and entropy are what a perfect lens has."""
    parts = [
        _against(final, final, meter.next_tokens(where).to(final.device)) for where, final in meter.next_token_logits()
    ]
    return _joined(parts, meter)


def _against(final: Float[Tensor, "n v"], logits: Float[Tensor, "n v"], following: Tensor) -> Prediction:
    loss = cross_entropy(logits, following.clamp_min(0))
    loss = loss.masked_fill((following < 0).to(loss.device), torch.nan)
    agrees = to_float64(agreement(final, logits))
    return Prediction(kl_divergence(final, logits).cpu(), loss.cpu(), entropy(logits).cpu(), agrees.cpu())


def _joined(parts: list[Prediction], meter: SwapMeter) -> Prediction:
    names = (field.name for field in fields(Prediction))
    return Prediction(*(meter.in_order([getattr(part, name) for part in parts]) for name in names))
