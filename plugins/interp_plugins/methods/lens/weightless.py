"""What lenses without parameters share."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from interp_registry.errors import DataError

__all__ = ["WeightlessLens"]


class WeightlessLens:
    """A lens whose file holds no tensors.

    Args:
        layers: Layers whose activations it takes.
    """

    method: ClassVar[str]
    """Name of the lens."""

    def __init__(self, layers: tuple[int, ...]) -> None:
        self._layers = layers

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers whose activations it takes."""
        return self._layers

    def weights(self) -> Mapping[str, Tensor]:
        """Nothing; statistics of the activations are in every lens file."""
        return {}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take nothing.

        Raises:
            DataError: There are weights, so they are those of another lens.
        """
        if weights:
            raise DataError(f"a {self.method} lens has no weights, given are {', '.join(sorted(weights)[:4])}")

    def describe(self) -> Mapping[str, Any]:
        """Method, layers, number of parameters."""
        return {"method": self.method, "layers": list(self.layers), "n_parameters": 0}
