"""The logit lens: an activation read as if it were the last one (nostalgebraist 2020).

Axes: n rows, d width, v vocabulary.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.dumped import Source
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.readout.config import LogitLensConfig
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.errors import DataError

__all__ = ["LogitLens"]


class LogitLens:
    """``logits = unembed(final_norm(h))`` at every layer; at the last one these are the model's own logits.

    Args:
        config: Has no settings.
        model: The model that is read.
        source: Layers that are there.
    """

    def __init__(self, config: LogitLensConfig, model: CausalLanguageModel, source: Source) -> None:
        self.config, self.parts = config, Parts(model)
        self._layers = source.layers

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers whose activations it takes."""
        return self._layers

    def weights(self) -> Mapping[str, Tensor]:
        """Nothing."""
        return {}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take nothing.

        Raises:
            DataError: There are weights, so they are those of another lens.
        """
        if weights:
            raise DataError(f"a logit lens has no weights, given are {', '.join(sorted(weights)[:4])}")

    def describe(self) -> Mapping[str, Any]:
        """Method, layers, number of parameters."""
        return {"method": "logit", "layers": list(self.layers), "n_parameters": 0}

    def readout(self, activations: Float[Tensor, "n d"], layer: int) -> Float[Tensor, "n v"]:
        """Next-token logits; differentiable."""
        self.parts.address(layer)
        return self.parts.readout(activations)
