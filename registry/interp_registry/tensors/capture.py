"""Reading and replacing activations with forward hooks that are always removed again."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from interp_registry.contracts.model import Reduce
from interp_registry.tensors.layers import Layer

__all__ = ["Capture", "EarlyExit", "Site", "capture_sites", "swap_at"]


class EarlyExit(BaseException):
    """Raised by a hook to leave the forward pass once nothing further down is wanted; ``forward`` catches it."""


@dataclass(frozen=True)
class Site:
    """Where in a network a layer's value can be seen."""

    module: nn.Module
    """The module to hook."""
    where: Literal["input", "output"] = "output"
    """Its first argument, or what it returns."""


@dataclass
class Capture:
    """What the hooks recorded in the latest forward pass."""

    values: dict[Layer, Any] = field(default_factory=dict)
    """Layer to activations, or to what ``reduce`` made of them."""

    def __getitem__(self, layer: Layer) -> Any:
        return self.values[layer]

    def take(self) -> dict[Layer, Any]:
        """Hand over the recorded values and forget them, so that nothing outlives its batch."""
        values, self.values = self.values, {}
        return values


@contextmanager
def capture_sites(
    sites: Mapping[Layer, Site], reduce: Reduce | None = None, *, early_exit: bool = False
) -> Iterator[Capture]:
    """Record the activations at ``sites`` for as long as the block lasts.

    Args:
        sites: Where each wanted layer can be seen.
        reduce: Applied to (layer, activations) in the hook; without it the activations themselves are kept.
        early_exit: Raise :class:`EarlyExit` once every layer has been seen in a pass.
    """
    capture = Capture()
    wanted = frozenset(sites)

    def record(layer: Layer, value: Tensor) -> None:
        capture.values[layer] = value if reduce is None else reduce(layer, value)
        if early_exit and wanted <= capture.values.keys():
            raise EarlyExit

    with ExitStack() as stack:
        for layer, site in sites.items():
            stack.callback(_attach(layer, site, record).remove)
        yield capture


def _attach(layer: Layer, site: Site, record: Any) -> RemovableHandle:
    if site.where == "input":

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            record(layer, _first(args, kwargs))

        return site.module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        record(layer, hidden_of(output))

    return site.module.register_forward_hook(after)


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def hidden_of(output: Any) -> Tensor:
    """The activations in what a block or a network returned: itself, its ``last_hidden_state``, or its first member."""
    if isinstance(output, Tensor):
        return output
    named = getattr(output, "last_hidden_state", None)
    return named if named is not None else output[0]


@contextmanager
def swap_at(site: Site, positions: Int[Tensor, "b"] | Int[Tensor, "b k"], values: Tensor) -> Iterator[None]:
    """Replace activations at token ``positions`` by ``values`` for as long as the block lasts; out of place.

    Args:
        site: Where.
        positions: [b] or [b, k].
        values: [b, d] or [b, k, d].
    """

    def replaced(hidden: Tensor) -> Tensor:
        where = positions.to(hidden.device)
        where = where[:, None] if where.ndim == 1 else where
        new = values.to(hidden.device, hidden.dtype).reshape(*where.shape, hidden.shape[-1])
        index = where[..., None].expand(new.shape)
        return torch.scatter(hidden, 1, index, new)

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (replaced(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": replaced(kwargs["hidden_states"])}

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        return _with_hidden(output, replaced(hidden_of(output)))

    if site.where == "input":
        handle = site.module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = site.module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def _with_hidden(output: Any, hidden: Tensor) -> Any:
    if isinstance(output, Tensor):
        return hidden
    if getattr(output, "last_hidden_state", None) is not None:
        changed = dict(output)
        changed["last_hidden_state"] = hidden
        return type(output)(**changed)
    return (hidden, *output[1:])
