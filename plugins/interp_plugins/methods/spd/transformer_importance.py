"""A transformer as importance function: it sees the inputs of all modules at all positions of a sequence (2026).

The inputs of all modules are brought to unit root mean square, each by itself, and concatenated; a linear map, pre-norm blocks
of bidirectional attention with rotary positions (base 10,000) and an MLP (erf GELU), and a linear map to all components.
Norms have no learned scale, the matrices of the attention no bias.

Axis letters: ``b`` batch, ``s`` positions, ``d`` width, ``e`` width of a head (even), ``c`` components of all modules.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from interp_plugins.methods.spd.config import GlobalTransformerConfig
from interp_plugins.methods.spd.factored import Rows, written_out
from interp_plugins.methods.spd.importance import Bank, ImportanceFunction
from interp_registry.errors import UsageError

__all__ = ["GlobalTransformer", "rotate", "unit_rms"]

_BASE = 10_000.0
_EPS = 1e-6


def unit_rms(x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Return ``x / sqrt(mean(x^2) + 1e-6)`` along the last axis."""
    return x * (x.square().mean(-1, keepdim=True) + _EPS).rsqrt()


def rotate(x: Float[Tensor, "... s e"]) -> Float[Tensor, "... s e"]:
    """Turn the pairs (x_i, x_{i + e/2}) at position t by the angle ``t * base^(-2 i / e)`` (Su et al. 2021).

    The product of two turned vectors depends on the difference of their positions only.
    """
    half = x.shape[-1] // 2
    powers = torch.arange(half, device=x.device, dtype=torch.float32) / half
    angles = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32).unsqueeze(-1) * _BASE**-powers
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


class _Block(nn.Module):
    """Attention and MLP, each on the normalised stream and added to it."""

    def __init__(self, bank: Bank, config: GlobalTransformerConfig) -> None:
        super().__init__()
        self.n_heads, d, wide = config.n_heads, config.width, config.mlp_width
        self.qkv = bank.draw(d, 3 * d, fan_in=d, gain=1.0)
        self.out = bank.draw(d, d, fan_in=d, gain=1.0)
        self.up, self.up_bias = bank.draw(d, wide, fan_in=d, gain=2.0**0.5), bank.zeros(wide)
        self.down, self.down_bias = bank.draw(wide, d, fan_in=wide, gain=1.0), bank.zeros(d)

    def forward(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """Return the stream after the block."""
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(-2, -3) for part in (unit_rms(x) @ self.qkv).chunk(3, -1)
        )
        seen = F.scaled_dot_product_attention(rotate(q), rotate(k), v)
        x = x + seen.transpose(-2, -3).flatten(-2) @ self.out
        return x + F.gelu(unit_rms(x) @ self.up + self.up_bias) @ self.down + self.down_bias


class GlobalTransformer(ImportanceFunction):
    """One transformer for the components of all modules (``global_transformer``).

    Raises:
        UsageError: A module is an embedding, runs are batched, or the heads do not divide the width evenly.
    """

    reads_sequences = True

    def __init__(self, bank: Bank, config: GlobalTransformerConfig) -> None:
        super().__init__()
        bank.vectors_only("global_transformer")
        if bank.runs:
            raise UsageError(
                "global_transformer does not take batched runs", "use global_shared_mlp, or one run at a time"
            )
        if config.width % (2 * config.n_heads):
            raise UsageError(
                f"a width of {config.width} does not give {config.n_heads} heads of an even width", "change either"
            )
        d_in, n_out = sum(bank.inputs), sum(bank.widths)
        self.read, self.read_bias = bank.draw(d_in, config.width, fan_in=d_in, gain=1.0), bank.zeros(config.width)
        self.blocks = nn.ModuleList(_Block(bank, config) for _ in range(config.n_blocks))
        self.write, self.write_bias = bank.draw(config.width, n_out, fan_in=config.width, gain=1.0), bank.zeros(n_out)

    def forward(self, inner: Sequence[Tensor], inputs: Sequence[Rows]) -> Float[Tensor, "*b s c"]:
        """Return the unbounded importances; rows without positions are sequences of length one."""
        del inner
        seen = torch.cat([unit_rms(written_out(x)) for x in inputs], -1)
        alone = seen.dim() == 2
        x = (seen.unsqueeze(-2) if alone else seen) @ self.read + self.read_bias
        for block in self.blocks:
            x = block(x)
        out = x @ self.write + self.write_bias
        return out.squeeze(-2) if alone else out

    def module_weights(self, start: int, stop: int, index: int) -> list[Tensor]:
        """Return all weights: none belongs to one module."""
        del start, stop, index
        return list(self.parameters())
