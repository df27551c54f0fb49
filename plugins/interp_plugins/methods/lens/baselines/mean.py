"""The mean of a layer's activations as a lens.

Axes: n rows, d width.
"""

from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.baselines.config import MeanLensConfig
from interp_plugins.methods.lens.dumped import Source
from interp_plugins.methods.lens.weightless import WeightlessLens
from interp_plugins.models.language import CausalLanguageModel

__all__ = ["MeanLens"]


class MeanLens(WeightlessLens):
    """Reconstructs every activation as the mean of its layer.

    Args:
        config: Has no settings.
        model: Not used.
        source: Statistics of the layers.
    """

    method = "mean"

    def __init__(self, config: MeanLensConfig, model: CausalLanguageModel, source: Source) -> None:  # noqa: ARG002
        super().__init__(source.layers)
        self.config, self.source = config, source

    def reconstruct(self, activations: Float[Tensor, "n d"], layer: int) -> Float[Tensor, "n d"]:
        """The mean, whatever the activation."""
        return self.source.statistics(layer).mean.to(activations).expand_as(activations)
