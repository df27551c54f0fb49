"""The layers of a transformer whose code we have never seen, checked against its own hidden states."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from interp_registry.errors import DataError, InterpError
from interp_registry.tensors.capture import Site, capture_sites
from interp_registry.tensors.layers import Layer

__all__ = ["after_blocks", "blocks_path", "check_sites", "compile_blocks", "find_blocks", "transformer_sites"]

_AFTER = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f", "final_norm", "project_out")


def find_blocks(network: nn.Module, n_layers: int) -> nn.ModuleList:
    """The list of ``n_layers`` blocks that the activations run through: the outermost list of that length.

    Raises:
        InterpError: The network has no such list.
    """
    found = network.get_submodule(blocks_path(network, n_layers))
    assert isinstance(found, nn.ModuleList)  # noqa: S101 - a type narrowing
    return found


def blocks_path(network: nn.Module, n_layers: int) -> str:
    """Dotted name of the list that :func:`find_blocks` finds.

    Raises:
        InterpError: The network has no such list.
    """
    lists: list[tuple[int, str]] = [
        (name.count("."), name)
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_layers
    ]
    if not lists:
        raise InterpError(
            f"{type(network).__name__} has no list of {n_layers} blocks, so its layers cannot be addressed",
            "use another model, or register a model of your own with its sites named",
        )
    return min(lists)[1]


def after_blocks(network: nn.Module, n_layers: int) -> list[str]:
    """Dotted names of the modules between the last block and the network's output, in the order of computation.

    They stand beside the list of blocks: the final norm, and a projection where there is one.
    """
    path = blocks_path(network, n_layers)
    owner, dot, _ = path.rpartition(".")
    beside = ((name, getattr(network.get_submodule(owner), name, None)) for name in _AFTER)
    return [f"{owner}{dot}{name}" for name, module in beside if isinstance(module, nn.Module)]


def transformer_sites(network: nn.Module, n_layers: int) -> dict[Layer, Site]:
    """Sites of layers 0..L and ``L.pre_norm`` of a transformer.

    Layer 0 is hooked at the *input* of the first block, not at the embedding module: some families add positions, a
    projection or a norm in between. Layer L is what the network returns, after the final norm (and a projection,
    where there is one).
    """
    blocks = find_blocks(network, n_layers)
    sites = {Layer(0): Site(blocks[0], "input")}
    sites |= {Layer(number): Site(blocks[number - 1]) for number in range(1, n_layers)}
    sites[Layer(n_layers, pre_norm=True)] = Site(blocks[n_layers - 1])
    sites[Layer(n_layers)] = Site(network)
    return sites


def check_sites(name: str, sites: Mapping[Layer, Site], run: Callable[[], Any]) -> dict[Layer, Tensor]:
    """Run a small input once and compare what the hooks see with the network's own hidden states.

    Args:
        name: Of the model, for the message.
        sites: To be checked.
        run: Forward pass on a small input that returns an object with ``hidden_states``. Its last one may be ``L`` or
            (vision towers) ``L.pre_norm``.

    Returns:
        The activations of each layer on the small input.

    Raises:
        DataError: An activation is not finite.
        InterpError: A layer differs, so the model's code is laid out in a way that this tool does not know.
    """
    with torch.inference_mode(), capture_sites(sites) as capture:
        states = run().hidden_states
    values: dict[Layer, Tensor] = capture.take()
    broken = [str(layer) for layer in sorted(values) if not values[layer].isfinite().all()]
    if broken:
        raise DataError(
            f"layer {broken[0]} of {name} is not finite on a small input",
            "its weights are broken, or it overflows its type: try --model.dtype=fp32",
        )
    last = max(sites)
    inner = [layer for layer in sorted(values) if layer.index < last.index]
    if len(states) != len(inner) + 1:
        raise InterpError(f"{name} reports {len(states)} hidden states where {len(inner) + 1} layers were found")
    ends = [layer for layer in values if layer.index == last.index]
    wrong = [layer for layer, state in zip(inner, states, strict=False) if not torch.equal(values[layer], state)]
    if not any(torch.equal(values[layer], states[-1]) for layer in ends):
        wrong.append(last)
    if wrong:
        raise InterpError(
            f"layer {wrong[0]} of {name} is not its hidden state: this model is laid out in an unknown way",
            "please report it with the model's name",
        )
    return values


def compile_blocks(sites: Mapping[Layer, Site]) -> None:
    """Compile each block (stage, tower's block) once and on its own; hooks stay outside of the compiled code.

    A deep copy of a compiled block runs, compiled, on its own parameters.
    """
    blocks = [site.module for layer, site in sites.items() if layer.index > 0 and site.where == "output"]
    whole = {id(block) for block in blocks for other in blocks if other is not block and other in set(block.modules())}
    for block in dict.fromkeys(block for block in blocks if id(block) not in whole):
        block.forward = _Compiled(block.forward)


class _Compiled:
    """A block's forward function, compiled, that knows whose it is.

    What ``torch.compile`` returns is copied as it is: a copy of the block would go on computing with the original's parameters.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._forward = forward
        self._run = torch.compile(forward, dynamic=True)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._run(*arguments, **options)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Compiled":
        return _Compiled(copy.deepcopy(self._forward, memo))
