"""The tuned lens: an affine map per layer, learned to predict what the model will predict (Belrose et al. 2023).

``logits_l = unembed(final_norm(h_l + W_l h_l + b_l))`` with W = 0 and b = 0 at the start, so that an untrained one is the logit lens and
weight decay pulls towards it. The last layer has no map.

Axes: n rows, d width, v vocabulary.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp_plugins.methods.lens.dumped import Source
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.readout.config import TunedLensConfig
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.errors import DataError, UsageError

if TYPE_CHECKING:
    from interp_plugins.methods.lens.dumped import Dump
    from interp_plugins.methods.lens.readout.training import TunedTraining
    from interp_registry.training.config import TrainingConfig

__all__ = ["TunedLens"]


class TunedLens:
    """Affine translators of all layers but the last.

    Args:
        config: Recipe of its training.
        model: The model that is read.
        source: Layers and width.

    Raises:
        UsageError: There is no layer before the last.
    """

    def __init__(self, config: TunedLensConfig, model: CausalLanguageModel, source: Source) -> None:
        self.config, self.parts = config, Parts(model)
        self._layers = source.layers
        self.translated = tuple(layer for layer in source.layers if layer < self.parts.n_layers)
        if not self.translated:
            raise UsageError("a tuned lens needs a layer before the last", "e.g. --layers all")
        self.translators = nn.ModuleDict({str(layer): self._translator() for layer in self.translated})

    def _translator(self) -> nn.Linear:
        width = self.parts.width
        linear = nn.Linear(width, width, device="meta").to_empty(device=self.parts.device)  # draws no random numbers
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        linear.weight.requires_grad_(not self.config.bias_only)
        return linear

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers whose activations it takes."""
        return self._layers

    def weights(self) -> Mapping[str, Tensor]:
        """``{layer}.weight`` and ``{layer}.bias``, the weight without the identity."""
        return {name: value.detach() for name, value in self.translators.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over translators.

        Raises:
            DataError: Names or shapes are not those of this lens.
        """
        own = self.translators.state_dict()
        odd = sorted(set(own) ^ set(weights))
        odd += [name for name in own if name in weights and own[name].shape != weights[name].shape]
        if odd:
            raise DataError(f"translators do not fit: {', '.join(odd[:4])} missing, unknown or of another shape")
        self.translators.load_state_dict(dict(weights))

    def describe(self) -> Mapping[str, Any]:
        """Method, layers, number of parameters that are trained."""
        trained = sum(p.numel() for p in self.translators.parameters() if p.requires_grad)
        return {"method": "tuned", "layers": list(self.layers), "n_parameters": trained}

    def translate(self, activations: Float[Tensor, "n d"], layer: int) -> Float[Tensor, "n d"]:
        """What the activation is taken to become at the last layer, before the final norm.

        Raises:
            UsageError: The lens has no map for this layer.
        """
        if layer == self.parts.n_layers:
            return activations
        if layer not in self.translated:
            raise UsageError(f"the lens has no map for layer {layer}", f"it has {', '.join(map(str, self.translated))}")
        linear = self.translators[str(layer)]
        return activations + linear(activations)

    def readout(self, activations: Float[Tensor, "n d"], layer: int) -> Float[Tensor, "n v"]:
        """Next-token logits; differentiable. At the last layer these are the model's own logits."""
        own: torch.dtype = next(self.translators.parameters()).dtype
        if layer == self.parts.n_layers:
            return self.parts.readout(activations)
        return self.parts.readout(self.translate(activations.to(self.parts.device, own), layer))

    def trainable(self, dump: "Dump", training: "TrainingConfig", seed: int) -> "TunedTraining":
        """What the training loop drives."""
        from interp_plugins.methods.lens.readout.training import TunedTraining

        return TunedTraining(self, dump, training, seed)
