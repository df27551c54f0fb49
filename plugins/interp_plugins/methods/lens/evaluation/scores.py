"""From effects of swaps to numbers with intervals.

Axes: n rows, d width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.lens.evaluation.effects import Effects
from interp_plugins.methods.lens.evaluation.interventions import Case
from interp_plugins.methods.lens.evaluation.measures import (
    cosine,
    normalised_errors,
    squared_errors,
    squared_spread,
)
from interp_plugins.methods.lens.evaluation.readouts import Prediction
from interp_plugins.methods.lens.evaluation.resampling import Estimate, ratio_estimate
from interp_plugins.methods.lens.readout.measures import bits_per_byte

__all__ = ["Resampling", "best_of_curve", "prediction_scores", "swap_scores"]


@dataclass(frozen=True)
class Resampling:
    """How intervals are found: documents of the rows, number of resamples, seed."""

    documents: Int[Tensor, "n"]
    n_resamples: int
    seed: int

    def ratio(self, top: Float[Tensor, "n"], bottom: Float[Tensor, "n"] | float = 1.0) -> Estimate:
        """Ratio of sums; a number as ``bottom`` stands for each row's."""
        bottom = torch.full_like(top, bottom) if not isinstance(bottom, Tensor) else bottom
        return ratio_estimate(top, bottom, self.documents, n_resamples=self.n_resamples, seed=self.seed)


def swap_scores(
    case: Case,
    values: Float[Tensor, "n d"],
    effects: Effects,
    references: dict[str, Effects],
    normalised_variance: float,
) -> dict[str, Estimate]:
    """Everything that is said about one intervention.

    Args:
        case: The rows.
        values: What was put in.
        effects: What it did.
        references: Effects of the mean ("mean") and of another row's activation ("other"), to which KL is compared.
        normalised_variance: Denominator of the normalised FVE.
    """
    sampled = Resampling(case.rows.documents, 1000, case.seed)
    over_mean = sampled.ratio(effects.kl, references["mean"].kl)
    return {
        "kl": sampled.ratio(effects.kl),
        "kl_after": sampled.ratio(effects.kl_after),
        "kl_over_mean": over_mean,
        "kl_over_other": sampled.ratio(effects.kl, references["other"].kl),
        "kl_recovered": over_mean.complement(),
        "top1_agreement": sampled.ratio(effects.agrees),
        "loss_change": sampled.ratio(effects.loss_change),
        "loss_change_after": sampled.ratio(effects.loss_change_after),
        "fve": sampled.ratio(
            squared_errors(case.activations, values), squared_spread(case.activations, case.mean)
        ).complement(),
        "fve_nrm": sampled.ratio(normalised_errors(case.activations, values), normalised_variance).complement(),
        "cosine": sampled.ratio(cosine(case.activations, values)),
        "cosine_centred": sampled.ratio(cosine(case.activations, values, case.mean)),
    }


def best_of_curve(case: Case, expected_errors: Float[Tensor, "n k"]) -> list[Estimate]:
    """FVE of the best of 1, 2, ... samples."""
    sampled = Resampling(case.rows.documents, 1000, case.seed)
    spread = squared_spread(case.activations, case.mean)
    return [sampled.ratio(errors, spread).complement() for errors in expected_errors.T]


def prediction_scores(case: Case, found: Prediction, n_tokens: int, n_bytes: int) -> dict[str, Estimate]:
    """KL, loss and entropy of predictions in nats and in bits per byte, and agreement with the model.

    Args:
        case: The rows.
        found: One value per row.
        n_tokens: Predicted tokens of the rows' texts.
        n_bytes: Bytes of these texts.
    """
    sampled = Resampling(case.rows.documents, 1000, case.seed)
    nats = {
        "kl": sampled.ratio(found.kl),
        "loss": sampled.ratio(found.loss),
        "entropy": sampled.ratio(found.entropy),
    }
    factor = bits_per_byte(1.0, n_tokens, n_bytes)
    bits = {f"{name}_bits_per_byte": value.scaled(factor) for name, value in nats.items()}
    return nats | bits | {"top1_agreement": sampled.ratio(found.agrees)}
