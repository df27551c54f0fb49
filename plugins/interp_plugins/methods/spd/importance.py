"""Causal-importance functions: how much each component matters on each input.

All functions return unbounded numbers for every component of every module side by side; the squashing functions of
``sigmoids.py`` follow. One bank serves all modules, so that the scalar MLPs of a model are one kernel call.

Weights are drawn as N(0, gain / sqrt(fan_in)) with gain sqrt(2) for hidden layers and 1 for the last; biases are zero.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows (batch and position flattened), ``c`` components of all
modules, ``m`` components of one module, ``h`` hidden units.
"""

import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from interp_plugins.methods.spd.factored import Rows, written_out
from interp_plugins.methods.spd.scalar_gate import scalar_gate
from interp_registry.errors import UsageError

__all__ = [
    "Bank",
    "GlobalSharedMlp",
    "ImportanceFunction",
    "LinearGate",
    "ScalarMlp",
    "SharedMlp",
    "VectorMlp",
    "compiler_for",
]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bank:
    """What an importance function is built for.

    Attributes:
        widths: Components of each module.
        inputs: Input width of each module; 0 for embeddings.
        runs: Leading run shape, empty or one number.
        generator: Source of the initial weights.
    """

    widths: tuple[int, ...]
    inputs: tuple[int, ...]
    runs: tuple[int, ...]
    generator: torch.Generator

    def draw(self, *shape: int, fan_in: int, gain: float) -> nn.Parameter:
        """Draw a weight with standard deviation ``gain / sqrt(fan_in)``."""
        device = self.generator.device
        values = torch.randn(*self.runs, *shape, generator=self.generator, device=device)
        return nn.Parameter(values * (gain / math.sqrt(fan_in)))

    def zeros(self, *shape: int) -> nn.Parameter:
        """Return a bias."""
        return nn.Parameter(torch.zeros(*self.runs, *shape, device=self.generator.device))

    def vectors_only(self, name: str) -> None:
        """Refuse embeddings: they have no input vector.

        Raises:
            UsageError: If a module is an embedding.
        """
        if 0 in self.inputs:
            raise UsageError(
                f"the importance function {name!r} reads input vectors, and an embedding has none", "use mlp"
            )


def _layers(bank: Bank, sizes: Sequence[int], per_component: int | None = None) -> nn.ParameterList:
    """Return the weights and biases of an MLP, one per component where a number of components is given."""
    many = () if per_component is None else (per_component,)
    parameters: list[nn.Parameter] = []
    for depth, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        gain = 1.0 if depth == len(sizes) - 2 else math.sqrt(2.0)
        parameters += [bank.draw(*many, fan_in, fan_out, fan_in=fan_in, gain=gain), bank.zeros(*many, fan_out)]
    return nn.ParameterList(parameters)


def compiler_for(device: str) -> str | None:
    """Return what torch.compile would compile with for a kind of device: triton, or a C++ compiler; None where there is none."""
    if device == "cuda":
        return "triton" if find_spec("triton") is not None else None
    return next((path for path in map(shutil.which, ("g++", "clang++")) if path), None)


class ImportanceFunction(nn.Module):
    """Base: unbounded importances of all components from inner activations and module inputs.

    Attributes:
        reads_sequences: Whether inputs keep their batch and position axes; otherwise these are flattened into rows.
    """

    reads_sequences = False

    def forward(self, inner: Sequence[Tensor], inputs: Sequence[Rows]) -> Float[Tensor, "*r n c"]:
        """Return the unbounded importances.

        Args:
            inner: Each module's inner activations ``x V``.
            inputs: Each module's input in the target model.
        """
        raise NotImplementedError

    def use_compiler(self) -> bool:
        """Let torch.compile fuse the forward and backward pass from now on; same values up to rounding.

        Returns:
            False, and a warning is logged, where no compiler for the device is installed; nothing changes then.
        """
        device = next(self.parameters()).device.type
        if compiler_for(device) is None:
            _LOG.warning("no compiler for %s is installed: the importance function is not compiled", device)
            return False
        self.compile(dynamic=True)
        return True

    def module_weights(self, start: int, stop: int, index: int) -> list[Tensor]:
        """Return views of the weights of one module: components ``start`` to ``stop``, module number ``index``."""
        raise NotImplementedError


class _PerModule(ImportanceFunction):
    """Base of functions with weights of their own for each module."""

    modules_layers: nn.ModuleList

    def layers_of(self) -> list[list[Tensor]]:
        """Weights and biases of every module."""
        return [list(layers.parameters()) for layers in self.modules_layers]

    def module_weights(self, start: int, stop: int, index: int) -> list[Tensor]:
        """Return the module's own weights."""
        del start, stop
        return self.layers_of()[index]


class LinearGate(ImportanceFunction):
    """``w_c h_c + b_c``: the gate without a hidden layer."""

    def __init__(self, bank: Bank) -> None:
        super().__init__()
        self.weight = bank.draw(sum(bank.widths), fan_in=1, gain=1.0)
        self.bias = bank.zeros(sum(bank.widths))

    def forward(self, inner: Sequence[Tensor], inputs: Sequence[Rows]) -> Float[Tensor, "*r n c"]:
        """Return the unbounded importances."""
        del inputs
        return torch.cat(list(inner), -1) * self.weight.unsqueeze(-2) + self.bias.unsqueeze(-2)

    def module_weights(self, start: int, stop: int, index: int) -> list[Tensor]:
        """Return the module's weights and biases."""
        del index
        return [self.weight[..., start:stop], self.bias[..., start:stop]]


class ScalarMlp(ImportanceFunction):
    """One MLP per component that reads the component's own inner activation ``h_c`` (``mlp``)."""

    def __init__(self, bank: Bank, hidden: Sequence[int], kernel: str = "auto") -> None:
        super().__init__()
        self.kernel = kernel
        self.layers = _layers(bank, (1, *hidden, 1), sum(bank.widths))

    def use_compiler(self) -> bool:
        """Compile the plain form: the others are kernels already."""
        compiled = super().use_compiler()
        if compiled:
            self.kernel = "plain"
        return compiled

    def forward(self, inner: Sequence[Tensor], inputs: Sequence[Rows]) -> Float[Tensor, "*r n c"]:
        """Return the unbounded importances."""
        del inputs
        layers, together = list(self.layers), torch.cat(list(inner), -1)
        if len(layers) == 4:
            w1, b1, w2, b2 = layers
            return scalar_gate(together, (w1.squeeze(-2), b1, w2.squeeze(-1), b2.squeeze(-1)), self.kernel)
        return _per_component(together.unsqueeze(-1), layers)

    def module_weights(self, start: int, stop: int, index: int) -> list[Tensor]:
        """Return the module's rows of every weight and bias."""
        del index
        runs = self.layers[1].dim() - 2
        return [layer.narrow(runs, start, stop - start) for layer in self.layers]


def _per_component(x: Float[Tensor, "*r n m i"], layers: Sequence[Tensor]) -> Float[Tensor, "*r n m"]:
    """Run one MLP per component; GELU after every layer but the last."""
    for depth in range(0, len(layers), 2):
        x = torch.einsum("...nmi,...mio->...nmo", x, layers[depth]) + layers[depth + 1].unsqueeze(-3)
        if depth < len(layers) - 2:
            x = F.gelu(x)
    return x.squeeze(-1)


class VectorMlp(_PerModule):
    """One MLP per component that reads the module's whole input vector (``vector_mlp``)."""

    def __init__(self, bank: Bank, hidden: Sequence[int]) -> None:
        super().__init__()
        bank.vectors_only("vector_mlp")
        sizes = zip(bank.widths, bank.inputs, strict=True)
        self.modules_layers = nn.ModuleList(_layers(bank, (d_in, *hidden, 1), width) for width, d_in in sizes)

    def forward(self, inner: Sequence[Tensor], inputs: Sequence[Rows]) -> Float[Tensor, "*r n c"]:
        """Return the unbounded importances."""
        del inner
        parts: list[Tensor] = []
        for x, layers in zip(inputs, self.layers_of(), strict=True):
            first, bias, *rest = layers
            *runs, m, d_in, h = first.shape
            folded = first.transpose(-3, -2).reshape(*runs, d_in, m * h)
            hidden = (x @ folded).unflatten(-1, (m, h)) + bias.unsqueeze(-3)
            parts.append(_per_component(F.gelu(hidden), rest) if rest else hidden.squeeze(-1))
        return torch.cat(parts, -1)


def _dense(x: Rows, layers: Sequence[Tensor]) -> Tensor:
    """Run an ordinary MLP; GELU after every layer but the last."""
    out = x @ layers[0] + layers[1].unsqueeze(-2)
    for depth in range(2, len(layers), 2):
        out = F.gelu(out) @ layers[depth] + layers[depth + 1].unsqueeze(-2)
    return out


class SharedMlp(_PerModule):
    """One MLP per module from its input vector to all its components (``shared_mlp``)."""

    def __init__(self, bank: Bank, hidden: Sequence[int]) -> None:
        super().__init__()
        bank.vectors_only("shared_mlp")
        sizes = zip(bank.widths, bank.inputs, strict=True)
        self.modules_layers = nn.ModuleList(_layers(bank, (d_in, *hidden, width)) for width, d_in in sizes)

    def forward(self, inner: Sequence[Tensor], inputs: Sequence[Rows]) -> Float[Tensor, "*r n c"]:
        """Return the unbounded importances."""
        del inner
        return torch.cat([_dense(x, w) for x, w in zip(inputs, self.layers_of(), strict=True)], -1)


class GlobalSharedMlp(ImportanceFunction):
    """One MLP from the inputs of all modules, concatenated, to all components (``global_shared_mlp``)."""

    def __init__(self, bank: Bank, hidden: Sequence[int]) -> None:
        super().__init__()
        bank.vectors_only("global_shared_mlp")
        self.layers = _layers(bank, (sum(bank.inputs), *hidden, sum(bank.widths)))

    def forward(self, inner: Sequence[Tensor], inputs: Sequence[Rows]) -> Float[Tensor, "*r n c"]:
        """Return the unbounded importances."""
        del inner
        return _dense(torch.cat([written_out(x) for x in inputs], -1), list(self.layers))

    def module_weights(self, start: int, stop: int, index: int) -> list[Tensor]:
        """Return all weights: none belongs to one module."""
        del start, stop, index
        return list(self.layers)
