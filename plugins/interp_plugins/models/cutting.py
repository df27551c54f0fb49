"""A transformer cut at a layer: the same modules and parameters in another order of call, nothing of the library patched."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from interp_plugins.models.blocks import after_blocks, blocks_path

__all__ = ["from_block", "up_to_block"]


class _Passing(nn.Module):
    """Stands in place of a block that is left out: returns what it was given, in the form that the blocks return."""

    def __init__(self, *, in_tuple: bool) -> None:
        super().__init__()
        self.in_tuple = in_tuple

    def forward(self, hidden_states: Tensor, *_args: object, **_kwargs: object) -> Tensor | tuple[Tensor]:
        """The activations as they came in."""
        return (hidden_states,) if self.in_tuple else hidden_states


def up_to_block(base: nn.Module, n_layers: int, layer: int) -> nn.Module:
    """A copy of a network that ends after its first ``layer`` blocks, without norm or projection behind them.

    It shares its parameters with the network; a deep copy of it has only those of the blocks that it runs.

    Args:
        base: The part of a language model that gives hidden states.
        n_layers: Its number of blocks.
        layer: How many of them to keep; 0 gives the embeddings as the first block would get them.
    """
    path = blocks_path(base, n_layers)
    blocks = base.get_submodule(path)
    kept = nn.ModuleList([block for place, block in enumerate(blocks.children()) if place < layer])
    replaced: dict[str, nn.Module] = dict.fromkeys(after_blocks(base, n_layers), nn.Identity())
    return _with_modules(base, {**replaced, path: kept})


def from_block(base: nn.Module, n_layers: int, layer: int, *, in_tuple: bool) -> nn.Module:
    """A copy of a network that leaves out its first ``layer`` blocks; the others keep their places in a cache.

    Args:
        base: The part of a language model that gives hidden states.
        n_layers: Its number of blocks.
        layer: How many to leave out.
        in_tuple: Whether its blocks return tuples.
    """
    path = blocks_path(base, n_layers)
    blocks = list(base.get_submodule(path).children())
    passing = [_Passing(in_tuple=in_tuple) for _ in range(layer)]
    return _with_modules(base, {path: nn.ModuleList([*passing, *blocks[layer:]])})


def _with_modules(network: nn.Module, replaced: Mapping[str, nn.Module]) -> nn.Module:
    """A copy that shares everything with a network but the sub-modules of these dotted names."""
    shell = _shallow(network)
    copies: dict[str, nn.Module] = {"": shell}
    for name, module in replaced.items():
        *owners, last = name.split(".")
        path = ""
        for step in owners:
            inner = f"{path}.{step}" if path else step
            if inner not in copies:
                copies[inner] = _shallow(getattr(copies[path], step))
                setattr(copies[path], step, copies[inner])
            path = inner
        setattr(copies[path], last, module)
    return shell


def _shallow(module: nn.Module) -> Any:
    """A module of the same class with the same parameters and sub-modules, and dictionaries and hooks of its own."""
    copied = copy.copy(module)
    state = copied.__dict__
    state["_modules"] = dict(state["_modules"])
    for hooks in (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_forward_hooks_with_kwargs",
        "_forward_pre_hooks_with_kwargs",
    ):
        state[hooks] = OrderedDict()
    state.pop("forward", None)  # a forward that was put on the instance (accelerate's hooks) is bound to the original
    return copied
