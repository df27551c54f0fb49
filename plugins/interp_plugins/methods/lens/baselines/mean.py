"""The mean of a layer's activations as a lens.

Axes: n rows, d width.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.baselines.config import MeanLensConfig
from interp_plugins.methods.lens.dumped import Source
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.errors import DataError

__all__ = ["MeanLens"]


class MeanLens:
    """Reconstructs every activation as the mean of its layer.

    Args:
        config: Has no settings.
        model: Not used.
        source: Statistics of the layers.
    """

    def __init__(self, config: MeanLensConfig, model: CausalLanguageModel, source: Source) -> None:  # noqa: ARG002
        self.config, self.source = config, source

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers whose activations it takes."""
        return self.source.layers

    def weights(self) -> Mapping[str, Tensor]:
        """Nothing: the means are among the statistics that every lens file keeps."""
        return {}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take nothing.

        Raises:
            DataError: There are weights, so they are those of another lens.
        """
        if weights:
            raise DataError(f"a mean lens has no weights, given are {', '.join(sorted(weights)[:4])}")

    def describe(self) -> Mapping[str, Any]:
        """Method, layers, number of parameters."""
        return {"method": "mean", "layers": list(self.layers), "n_parameters": 0}

    def reconstruct(self, activations: Float[Tensor, "n d"], layer: int) -> Float[Tensor, "n d"]:
        """The mean, whatever the activation."""
        return self.source.statistics(layer).mean.to(activations).expand_as(activations)
