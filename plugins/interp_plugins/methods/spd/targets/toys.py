"""Toy targets as functions of named matrices, with optional leading run dimensions.

TMS, the toy model of superposition (Elhage et al. 2022): ``y = ReLU(W2^T [H ..] W1 x + b)``, features squeezed into fewer
hidden dimensions; W2 is W1 transposed when tied. Residual MLP: ``r = x W_E``; per layer ``r += MLP(r)``; ``y = r W_U``.
Matrices are kept input by output.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows, ``f`` features, ``d`` hidden or residual width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.factored import FactoredRows, Products, Rows, written_out
from interp_plugins.methods.spd.sites import AtSite

__all__ = ["ResidualMlp", "ToySuperposition"]


@dataclass(frozen=True)
class _Matrices:
    """Named matrices and biases: what both toys have in common."""

    weights: Mapping[str, Tensor]
    biases: Mapping[str, Tensor]
    run_dims: int = 0
    lazy_outputs: frozenset[str] = field(default=frozenset(), init=False)

    def module_names(self) -> Sequence[str]:
        """Names of the modules, in the order of the forward pass."""
        return list(self.weights)

    def weight(self, name: str) -> Float[Tensor, "*r i o"]:
        """Matrix of a module, input by output."""
        return self.weights[name]

    def bias(self, name: str) -> Float[Tensor, "*r o"] | None:
        """Bias of a module, if it has one."""
        return self.biases.get(name)

    def is_embedding(self, name: str) -> bool:
        """No module of a toy reads token ids."""
        del name
        return False

    def _linear(self, name: str, x: Rows) -> Rows:
        out = x @ self.weights[name]
        return out if name not in self.biases else out + self.biases[name].unsqueeze(-2)


@dataclass(frozen=True)
class ToySuperposition(_Matrices):
    """TMS: modules ``linear1``, ``hidden_layers.0`` .., ``linear2``."""

    def prepare(self, batch: Float[Tensor, "*r n f"]) -> Float[Tensor, "*r n f"]:
        """Return the batch: nothing is shared between the passes of a step."""
        return batch

    def forward(self, batch: Float[Tensor, "*r n f"], at_site: AtSite) -> Float[Tensor, "*r n f"]:
        """Return the rectified outputs."""
        rows: Rows = batch
        for name in self.weights:
            rows = at_site(name, rows, lambda x, name=name: self._linear(name, x))
        return F.relu(written_out(rows))

    @property
    def n_features(self) -> int:
        """Number of input features."""
        return self.weights["linear1"].shape[-2]


@dataclass(frozen=True)
class ResidualMlp(_Matrices):
    """Residual MLP: modules ``layers.<i>.mlp_in`` and ``layers.<i>.mlp_out``; embedding and readout are fixed."""

    embedding: Float[Tensor, "*r f d"] = None  # type: ignore[assignment]
    unembedding: Float[Tensor, "*r d f"] = None  # type: ignore[assignment]
    activation: str = "relu"

    def __post_init__(self) -> None:
        outputs = frozenset(name for name in self.weights if name.endswith("mlp_out") and name not in self.biases)
        object.__setattr__(self, "lazy_outputs", outputs)

    def prepare(self, batch: Float[Tensor, "*r n f"]) -> FactoredRows:
        """Return the residual stream before the first layer, with the products that all passes of a step share."""
        return FactoredRows(((batch, self.embedding),), Products())

    def forward(self, batch: FactoredRows, at_site: AtSite) -> Float[Tensor, "*r n f"]:
        """Return the readout; the residual stream is never written out."""
        stream, products = batch, batch.products
        hidden: Rows = stream
        act = {"relu": F.relu, "gelu": F.gelu}[self.activation]
        for name in self.weights:
            if name.endswith("mlp_in"):
                read = at_site(name, stream, lambda x, name=name: self._linear(name, x))
                hidden = act(written_out(read))
            else:  # follows its mlp_in
                written = at_site(name, hidden, lambda x, name=name: self._write(name, x, products))
                stream = stream + _as_terms(written, products)
        return stream @ self.unembedding

    def _write(self, name: str, x: Rows, products: Products) -> Rows:
        if name in self.biases:
            return self._linear(name, x)
        return FactoredRows(((written_out(x), self.weights[name]),), products)

    @property
    def n_features(self) -> int:
        """Number of input features."""
        return self.embedding.shape[-2]


def _as_terms(rows: Rows, products: Products) -> FactoredRows:
    """Return rows as a term of the stream; what is dense already is its own coefficient, with the identity as basis."""
    if isinstance(rows, FactoredRows):
        return FactoredRows(rows.terms, products)
    return FactoredRows(((rows, torch.eye(rows.shape[-1], dtype=rows.dtype, device=rows.device)),), products)
