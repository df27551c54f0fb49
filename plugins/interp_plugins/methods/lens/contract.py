"""What a lens can do. Everything that trains, evaluates or shows lenses asks for these abilities, never for names.

One convention everywhere: ``layer`` is the index of Hugging Face's ``hidden_states``, 0 (embeddings) to L. It is the *residual stream*
between block ``layer`` and the one before; at ``L`` the value before the final norm (`interp_registry.tensors.layers`: ``L.pre_norm``).

Axes: n rows, t explanation tokens, d width, v vocabulary, s tokens of a text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from interp_plugins.methods.lens.dumped import Dump
    from interp_registry.training.config import TrainingConfig
    from interp_registry.training.loop import Trainable

__all__ = ["Explains", "Explanation", "Fits", "Lens", "ReadsOut", "ReadsText", "Reconstructs", "Trains"]


@dataclass(frozen=True)
class Explanation:
    """What a lens says about one activation."""

    text: str
    """The words."""
    token_ids: tuple[int, ...]
    """Its tokens in the explaining model's vocabulary, special ones left out."""
    logprobs: tuple[float, ...] = ()
    """Log-probability in nats of each token as the lens sampled it; empty when it did not sample."""
    parsed: bool = True
    """False when the text does not have the form that the lens was trained to write."""


@runtime_checkable
class Lens(Protocol):
    """The core: at which layers it works, and the tensors that make it up."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers whose activations it takes."""
        ...

    def weights(self) -> "Mapping[str, Tensor]":
        """What a lens file holds; empty for a lens without parameters."""
        ...

    def load_weights(self, weights: "Mapping[str, Tensor]") -> None:
        """Take over what :meth:`weights` returned.

        Raises:
            DataError: Names or shapes are not those of this lens.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """JSON values for people: method, layers, number of parameters."""
        ...


@runtime_checkable
class ReadsOut(Protocol):
    """A lens that predicts the next token from an activation: logit lens, tuned lens."""

    def readout(self, activations: "Float[Tensor, 'n d']", layer: int) -> "Float[Tensor, 'n v']":
        """Next-token logits; differentiable."""
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """A lens that gives the activation back after its bottleneck."""

    def reconstruct(self, activations: "Float[Tensor, 'n d']", layer: int) -> "Float[Tensor, 'n d']":
        """The activation as it is after the bottleneck; deterministic (greedy where tokens are chosen)."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A lens whose bottleneck is text."""

    def explain(
        self,
        activations: "Float[Tensor, 'n d']",
        layer: int,
        *,
        samples: int = 1,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[list[Explanation]]:
        """``samples`` explanations of each row; greedy at temperature 0."""
        ...


@runtime_checkable
class ReadsText(Protocol):
    """A lens that turns explanations, its own or anybody's, into activations."""

    def read_text(self, explanations: "Sequence[Explanation]", layer: int) -> "Float[Tensor, 'n d']":
        """The activation that each explanation stands for."""
        ...

    def read_tokens(self, token_ids: "Int[Tensor, 'n t']", layer: int) -> "Float[Tensor, 'n d']":
        """The same from token ids."""
        ...


@runtime_checkable
class Trains(Protocol):
    """A lens that learns from dumped activations."""

    def trainable(self, dump: "Dump", training: "TrainingConfig", seed: int) -> "Trainable":
        """What `interp_registry.training.loop.train` drives: it draws batch ``i`` from ``dump`` by (seed, i) only.

        Its ``state()["weights"]`` is a superset of :meth:`Lens.weights`.
        """
        ...


@runtime_checkable
class Fits(Protocol):
    """A lens that is computed from dumped activations in closed form."""

    def fit(self, dump: "Dump") -> Mapping[str, float]:
        """Take what it needs from the training rows; numbers that tell how well it went."""
        ...
