"""Training of tuned lenses on dumped activations.

Axes: n rows, d width, v vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional

from interp_plugins.methods.lens.dumped import Dump, Rows
from interp_plugins.methods.lens.parts import mask_of
from interp_plugins.methods.lens.readout.measures import divergence
from interp_plugins.methods.lens.readout.tuned import TunedLens
from interp_registry.errors import DataError
from interp_registry.training.config import TrainingConfig

__all__ = ["TunedTraining"]

_ADAM_RATE = 1e-3
_EVALUATED = 4096


class TunedTraining:
    """Makes every translator predict the model's final distribution, or the next token.

    The loss is the sum over layers of the mean over rows. Layers share nothing but the target, so each has its own backward pass: memory
    is that of one layer's logits.

    Args:
        lens: What to train.
        dump: Activations at its layers.
        training: Settings of the loop.
        seed: Seed of the order of rows.

    Raises:
        DataError: Nothing is predicted, because no row has as many tokens behind it as the shift.
    """

    shares_batches = True

    def __init__(self, lens: TunedLens, dump: Dump, training: TrainingConfig, seed: int) -> None:
        self.lens, self.dump, self.training, self.seed = lens, dump, training, seed
        self.config = lens.config
        self._optimiser = _optimiser(lens)

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """The one optimiser."""
        return {"tuned": self._optimiser}

    def step(self, i: int) -> Mapping[str, Tensor | float]:
        """Losses of batch ``i``, the gradients being computed here layer by layer."""
        rows = self.dump.batch(i, self.config.batch_size, self.seed)
        losses: dict[str, Tensor | float] = {}
        total = torch.zeros((), device=self.lens.parts.device)
        for layer, loss in self._losses(rows):
            (loss / self.training.accumulate).backward()
            losses[f"{self.config.loss}/{layer}"] = loss.detach()
            total += loss.detach()
        return {"loss": total, **losses}

    @torch.no_grad()
    def evaluate(self, step: int) -> Mapping[str, float]:  # noqa: ARG002 - of the protocol
        """Loss of each layer, and of the logit lens there, on validation rows (the first 4,096)."""
        rows = self.dump.validation_rows[:_EVALUATED]
        if not len(rows):
            return {}
        found = {f"{self.config.loss}/{layer}": float(loss) for layer, loss in self._losses(rows)}
        plain = {f"logit_{self.config.loss}/{layer}": float(loss) for layer, loss in self._losses(rows, tuned=False)}
        return {"loss": sum(found.values()), **found, **plain}

    def state(self) -> dict[str, Any]:
        """The translators."""
        return {"weights": dict(self.lens.weights())}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to stored translators."""
        self.lens.load_weights(state["weights"])

    def _losses(self, indices: Int[Tensor, "n"], *, tuned: bool = True) -> Any:
        """Rows (layer, loss), one after the other."""
        parts, layers = self.lens.parts, self.lens.translated
        first = self.dump.rows(indices, layers[0])
        kept, target = self._target(indices, first)
        for layer in layers:
            values = first.activations if layer == layers[0] else self.dump.activations(indices, layer)
            activations = values[kept].to(parts.device)
            logits = (self.lens.readout(activations, layer) if tuned else parts.readout(activations)).float()
            if self.config.loss == "ce":
                yield layer, functional.cross_entropy(logits, target)
            else:
                yield layer, divergence(target, logits).mean()

    @torch.no_grad()
    def _target(self, indices: Tensor, rows: Rows) -> tuple[Bool[Tensor, "n"], Tensor]:
        """Which rows have a target, and those targets: token ids [m], or final logits [m, v]."""
        parts, shift = self.lens.parts, self.config.shift
        there = rows.positions + shift
        kept = there < rows.lengths
        if not kept.any():
            raise DataError(f"no activation has a token {shift} places behind it", "dump other positions")
        if self.config.loss == "ce":
            return kept, rows.token_ids[kept].gather(1, there[kept][:, None])[:, 0].to(parts.device)
        if shift == 0 and parts.n_layers in self.dump.layers:
            return kept, parts.readout(self.dump.activations(indices, parts.n_layers).to(parts.device)).float()
        ids, mask = rows.token_ids[kept], mask_of(rows.lengths[kept], rows.token_ids.shape[1])
        return kept, parts.logits(parts.batch(ids, mask), there[kept])[:, 0].float()


def _optimiser(lens: TunedLens) -> torch.optim.Optimizer:
    config = lens.config
    trained = [parameter for parameter in lens.translators.parameters() if parameter.requires_grad]
    if config.optimiser == "adam":
        rate = config.lr_scale * _ADAM_RATE
        return torch.optim.Adam(trained, lr=rate, weight_decay=config.weight_decay, amsgrad=True)
    rate = config.lr_scale * (1 - config.momentum)
    nesterov = config.momentum > 0
    return torch.optim.SGD(
        trained, lr=rate, momentum=config.momentum, weight_decay=config.weight_decay, nesterov=nesterov
    )
