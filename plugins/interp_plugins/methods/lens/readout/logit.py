"""The logit lens: an activation read as if it were the last one (nostalgebraist 2020).

Axes: n rows, d width, v vocabulary.
"""

from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.dumped import Source
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.readout.config import LogitLensConfig
from interp_plugins.methods.lens.weightless import WeightlessLens
from interp_plugins.models.language import CausalLanguageModel

__all__ = ["LogitLens"]


class LogitLens(WeightlessLens):
    """``logits = unembed(final_norm(h))`` at every layer; at the last one these are the model's own logits.

    Args:
        config: Has no settings.
        model: The model that is read.
        source: Layers that are there.
    """

    method = "logit"

    def __init__(self, config: LogitLensConfig, model: CausalLanguageModel, source: Source) -> None:
        super().__init__(source.layers)
        self.config, self.parts = config, Parts(model)

    def readout(self, activations: Float[Tensor, "n d"], layer: int) -> Float[Tensor, "n v"]:
        """Next-token logits; differentiable."""
        self.parts.address(layer)
        return self.parts.readout(activations)
