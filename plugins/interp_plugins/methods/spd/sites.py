"""What a target model must offer to be decomposed: named places, their weights, and a forward pass that asks there.

Axis letters: ``r`` optional leading run dimensions, ``i`` inputs, ``o`` outputs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.factored import Rows
from interp_registry.errors import UsageError

__all__ = ["IDENTITY_SUFFIX", "AtSite", "Site", "Target", "choose_sites"]

IDENTITY_SUFFIX = ".pre_identity"

Original = Callable[[Rows], Rows]
AtSite = Callable[[str, Rows, Original], Rows]
"""Called at every place with its name, its input and the place's own function; returns the place's output."""


@dataclass(frozen=True)
class Site:
    """One decomposed matrix.

    Attributes:
        name: Dotted name of the module; ``<module>.pre_identity`` for an identity put before it.
        n_components: Number of components, C.
        is_embedding: Whether the input is token ids.
        lazy_output: Whether the output may stay a sum of products.
    """

    name: str
    n_components: int
    is_embedding: bool = False
    lazy_output: bool = False

    @property
    def module(self) -> str:
        """Name of the module at which the component stands."""
        return self.name.removesuffix(IDENTITY_SUFFIX)

    @property
    def is_identity(self) -> bool:
        """Whether this is an identity put before a module."""
        return self.name.endswith(IDENTITY_SUFFIX)


class Target(Protocol):
    """A frozen model with named matrices."""

    @property
    def run_dims(self) -> int:
        """Number of leading run dimensions of its parameters: 0 or 1."""
        ...

    def module_names(self) -> Sequence[str]:
        """Names of all modules that can be decomposed, in the order of the forward pass."""
        ...

    def weight(self, name: str) -> Float[Tensor, "*r i o"]:
        """Matrix of a module, input by output."""
        ...

    def bias(self, name: str) -> Float[Tensor, "*r o"] | None:
        """Bias of a module, if it has one."""
        ...

    def is_embedding(self, name: str) -> bool:
        """Whether a module maps token ids to vectors."""
        ...

    def prepare(self, batch: Any) -> Any:
        """Return what the passes of one step share; ``forward`` takes it."""
        ...

    def forward(self, batch: Any, at_site: AtSite) -> Tensor:
        """Return the output for a prepared batch, asking ``at_site`` at every module that can be decomposed."""
        ...


def choose_sites(
    target: Target, components: dict[str, int], identities: dict[str, int] | None = None
) -> tuple[Site, ...]:
    """Return the sites that patterns choose, in the order of the forward pass.

    Args:
        target: The model.
        components: ``fnmatch`` pattern of module names -> number of components. The first matching pattern wins.
        identities: The same for identities to put before modules.

    Raises:
        UsageError: A pattern matches no module, or a number of components is not positive.
    """
    names = list(target.module_names())
    for pattern, count in [*components.items(), *(identities or {}).items()]:
        if not any(fnmatch(name, pattern) for name in names):
            raise UsageError(f"the module pattern {pattern!r} matches nothing", f"modules: {', '.join(names[:12])}")
        if count < 1:
            raise UsageError(f"the module pattern {pattern!r} asks for {count} components", "ask for at least 1")
    lazy = getattr(target, "lazy_outputs", frozenset())
    sites: list[Site] = []
    for name in names:
        if (count := _first_match(name, identities or {})) is not None:
            sites.append(Site(name + IDENTITY_SUFFIX, count))
        if (count := _first_match(name, components)) is not None:
            sites.append(Site(name, count, target.is_embedding(name), name in lazy))
    return tuple(sites)


def _first_match(name: str, patterns: dict[str, int]) -> int | None:
    return next((count for pattern, count in patterns.items() if fnmatch(name, pattern)), None)
