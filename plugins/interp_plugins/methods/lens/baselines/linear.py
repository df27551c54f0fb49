"""A linear bottleneck: the activation through its first principal components.

No linear map of rank k through k numbers has a smaller squared error on the training rows than the projection on the first k principal
components (Eckart and Young 1936), so a bottleneck of text that does worse carries less than k numbers do.

Axes: n rows, d width, k rank.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.baselines.config import LinearLensConfig
from interp_plugins.methods.lens.dumped import Source
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.errors import ConfigError, DataError

if TYPE_CHECKING:
    from interp_plugins.methods.lens.dumped import Dump

__all__ = ["LinearLens"]

_CHUNK = 16384


class LinearLens:
    """``a -> mean + U U^T (a - mean)``, the columns of U being the first principal components of the layer.

    Args:
        config: The rank.
        model: Not used.
        source: Layers, width and means.

    Raises:
        ConfigError: The rank is larger than the width.
    """

    def __init__(self, config: LinearLensConfig, model: CausalLanguageModel, source: Source) -> None:  # noqa: ARG002
        if config.rank > source.width:
            raise ConfigError(f"rank {config.rank} in a width of {source.width}", "rank", f"at most {source.width}")
        self.config, self.source = config, source
        self.bases = {layer: torch.zeros(source.width, config.rank) for layer in source.layers}

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers whose activations it takes."""
        return self.source.layers

    def weights(self) -> Mapping[str, Tensor]:
        """``{layer}.basis`` [d, k] of each layer; its columns are orthonormal."""
        return {f"{layer}.basis": basis for layer, basis in self.bases.items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over stored bases.

        Raises:
            DataError: Names or shapes are not those of this lens.
        """
        own = self.weights()
        odd = sorted(set(own) ^ set(weights)) + [n for n in own if n in weights and own[n].shape != weights[n].shape]
        if odd:
            raise DataError(f"bases do not fit: {', '.join(odd[:4])} missing, unknown or of another shape")
        self.bases = {layer: weights[f"{layer}.basis"].clone() for layer in self.bases}

    def describe(self) -> Mapping[str, Any]:
        """Method, layers, rank, number of parameters."""
        size = sum(basis.numel() for basis in self.bases.values())
        return {"method": "linear", "layers": list(self.layers), "rank": self.config.rank, "n_parameters": size}

    def fit(self, dump: "Dump") -> Mapping[str, float]:
        """Principal components of the training rows, in float64; returns the share of variance that each layer's carry."""
        found: dict[str, float] = {}
        for layer in self.layers:
            mean = dump.statistics(layer).mean.double()
            spread = torch.zeros(dump.width, dump.width, dtype=torch.float64)
            for part in dump.training_rows.split(_CHUNK):
                centred = dump.activations(part, layer).double() - mean
                spread += centred.T @ centred
            values, vectors = torch.linalg.eigh(spread)
            self.bases[layer] = _with_sign(vectors.flip(1)[:, : self.config.rank]).float().contiguous()
            kept = values.flip(0)[: self.config.rank].sum() / values.sum().clamp_min(torch.finfo(torch.float64).tiny)
            found[f"variance/{layer}"] = float(kept)
        return found

    def reconstruct(self, activations: Float[Tensor, "n d"], layer: int) -> Float[Tensor, "n d"]:
        """The activation's projection on the components."""
        mean = self.source.statistics(layer).mean.to(activations)
        basis = self.bases[layer].to(activations)
        return mean + (activations - mean) @ basis @ basis.T


def _with_sign(basis: Float[Tensor, "d k"]) -> Float[Tensor, "d k"]:
    """The same components, the largest coordinate of each being positive: an eigenvector has no sign of its own."""
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    return basis * largest.sign()
