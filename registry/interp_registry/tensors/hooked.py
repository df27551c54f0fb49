"""A base for models that are torch modules: name the sites of the layers, and the rest of the contract follows."""

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from interp_registry.contracts.model import Batch, Encoded, ModelInfo, Output, Reduce
from interp_registry.errors import UsageError
from interp_registry.tensors.capture import Capture, EarlyExit, Site, capture_sites, swap_at
from interp_registry.tensors.layers import Layer

__all__ = ["HookedModel"]


class HookedModel(ABC):
    """A model read by hooks; gives `capture`, `swap` and `decomposable_modules` to any module whose layers have sites.

    Args:
        module: The network, in evaluation mode.
        info: What is known about it; ``info.layers`` must be the keys of ``sites``.
        sites: Where each layer's value can be seen.
    """

    def __init__(self, module: nn.Module, info: ModelInfo, sites: Mapping[Layer, Site]) -> None:
        self._module = module
        self._info = info
        self._sites = dict(sites)

    @property
    def info(self) -> ModelInfo:
        """Name, modality, size, layers."""
        return self._info

    @property
    def module(self) -> nn.Module:
        """The network itself."""
        return self._module

    @property
    def device(self) -> torch.device:
        """Where inputs have to be."""
        return next(iter(self._module.parameters())).device

    @property
    def sites(self) -> Mapping[Layer, Site]:
        """Where each layer's value can be seen."""
        return self._sites

    @abstractmethod
    def preprocess(self, samples: Sequence[Any]) -> list[Encoded]:
        """Encode samples one by one and in order."""

    @abstractmethod
    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Put encoded samples together."""

    @abstractmethod
    def run(self, batch: Batch, *, logits: bool) -> Output:
        """One forward pass of the network on a batch that is on its device."""

    def forward(self, batch: Batch, *, logits: bool = False) -> Output:
        """Run the network; an early exit of a capture gives an empty output."""
        try:
            return self.run(batch.to(self.device), logits=logits)
        except EarlyExit:
            return Output()

    def capture(
        self, layers: Sequence[Layer], reduce: Reduce | None = None, *, early_exit: bool = False
    ) -> AbstractContextManager[Capture]:
        """Record the activations of ``layers``; see `interp_registry.contracts.model.Model.capture`.

        Raises:
            UsageError: A layer does not exist in this model.
        """
        return capture_sites({layer: self._site(layer) for layer in layers}, reduce, early_exit=early_exit)

    def swap(
        self, layer: Layer, positions: Int[Tensor, "b"] | Int[Tensor, "b k"], values: Tensor
    ) -> AbstractContextManager[None]:
        """Replace activations; see `interp_registry.contracts.model.Swappable.swap`.

        Raises:
            UsageError: The layer does not exist in this model.
        """
        return swap_at(self._site(layer), positions, values)

    def decomposable_modules(self, patterns: Sequence[str] = ("*",)) -> Mapping[str, nn.Module]:
        """Linear, Conv1D and embedding modules whose dotted name matches one of the shell-style ``patterns``."""
        return {
            name: module
            for name, module in self._module.named_modules()
            if _is_matrix(module) and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        }

    def _site(self, layer: Layer) -> Site:
        if layer not in self._sites:
            names = ", ".join(str(known) for known in self._info.layers)
            raise UsageError(f"{self._info.name} has no layer {str(layer)!r}", f"it has {names}")
        return self._sites[layer]


def _is_matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Embedding) or type(module).__name__ == "Conv1D"
