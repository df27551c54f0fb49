"""What a model is to every method: samples in, activations at addressed layers out.

The core (:class:`Model`) is enough for extraction. What else a network can do is said by small capability protocols,
which methods test with ``isinstance``: :class:`Unembeds`, :class:`Swappable`, :class:`TwoTower`, :class:`Generates`,
:class:`Decomposable`. A network that is a ``torch.nn.Module`` need not implement all this by hand: see
`interp_registry.tensors.hooked.HookedModel`.

Axes: b samples of a batch, t tokens (or patches), d width, v vocabulary, k positions, e joint embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from interp_registry.tensors.layers import Layer

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from interp_registry.tensors.capture import Capture

__all__ = [
    "Batch",
    "Decomposable",
    "Encoded",
    "Generates",
    "Modality",
    "Model",
    "ModelInfo",
    "Output",
    "Reduce",
    "Swappable",
    "TwoTower",
    "Unembeds",
]

Modality = Literal["language", "vision", "two_tower"]
"""What a model takes: texts, images, or one of each in two towers."""

Reduce = Callable[[Layer, "Tensor"], Any]
"""Turns the activations of one layer, in the hook itself, into what is to be kept of them."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a loaded model."""

    name: str
    """The name or folder that it was loaded by."""
    modality: Modality
    """What it takes."""
    revision: str
    """Digest or commit that changes whenever the weights do."""
    n_params: int
    """Number of parameters, tied ones counted once, as if not quantised."""
    layers: tuple[Layer, ...]
    """Every layer that can be captured, in order of computation."""
    widths: Mapping[Layer, int]
    """Width of each layer."""
    default_layers: tuple[Layer, ...]
    """Layers that are captured when none are named."""
    dtype: str
    """Type of the weights, e.g. ``float32``, ``bfloat16``, ``4bit``."""
    causal: bool = False
    """True for a language model that predicts the next token from those before it."""
    n_prefix_tokens: int = 0
    """Vision: class and register tokens that stand before the patches."""
    spatial: bool = False
    """True where a layer is a map (b, d, height, width) rather than tokens (b, t, d)."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else is worth recording: architecture, family, context length."""


@dataclass(frozen=True)
class Encoded:
    """One sample after ``preprocess``: what the network needs of it, not yet in a batch."""

    inputs: Mapping[str, Any]
    """Text: ``{"input_ids": [..]}``; image: ``{"pixel_values": Tensor[c, h, w]}``."""
    length: int = 1
    """Tokens of a text; 1 for an image. Batches are cut by the sum of these."""
    n_bytes: int = 0
    """UTF-8 bytes of the text, for bits per byte."""


@dataclass(frozen=True)
class Batch:
    """Samples put together for one forward pass."""

    inputs: "Mapping[str, Tensor]"
    """Keyword arguments of the network."""
    mask: "Bool[Tensor, 'b t'] | None" = None
    """True at real tokens, False at padding; None where there is none (images)."""

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def to(self, device: Any) -> "Batch":
        """The same batch on another device."""
        inputs = {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()}
        return replace(self, inputs=inputs, mask=None if self.mask is None else self.mask.to(device))


@dataclass(frozen=True)
class Output:
    """What a forward pass returned. Activations are not here: they are captured."""

    last_hidden: "Float[Tensor, 'b t d'] | Tensor | None" = None
    """The network's final representation (layer ``L``); None after an early exit."""
    logits: "Float[Tensor, 'b t v'] | None" = None
    """Next-token logits, when they were asked for."""


@runtime_checkable
class Model(Protocol):
    """A network that can be read at its layers."""

    @property
    def info(self) -> ModelInfo:
        """Name, modality, size, layers."""
        ...

    def preprocess(self, samples: Sequence[Any]) -> list[Encoded]:
        """Encode texts (``str``) or images (PIL), one by one and in order."""
        ...

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Put encoded samples together: texts are padded on the right and carry explicit positions."""
        ...

    def forward(self, batch: Batch, *, logits: bool = False) -> Output:
        """Run the network. Differentiable unless the caller turns gradients off; captures and swaps in force apply.

        Args:
            batch: From :meth:`collate`; moved to the model's device if need be.
            logits: Also compute next-token logits (a language model's head runs only then).
        """
        ...

    def capture(
        self, layers: Sequence[Layer], reduce: Reduce | None = None, *, early_exit: bool = False
    ) -> "AbstractContextManager[Capture]":
        """Record the activations of ``layers`` during the forward passes inside the ``with`` block.

        Args:
            layers: Addresses out of ``info.layers``.
            reduce: Applied to (layer, activations) in the hook; without it the activations themselves are kept.
            early_exit: Stop each pass once the last of ``layers`` has been seen; ``forward`` then returns an empty
                output.

        Raises:
            UsageError: A layer does not exist. The hooks are gone after the block, whatever happened in it.
        """
        ...


@runtime_checkable
class Unembeds(Protocol):
    """A language model whose final norm and output head can be applied to any activation."""

    def final_norm(self, hidden: "Float[Tensor, '*n d']") -> "Float[Tensor, '*n d']":
        """The norm between ``L.pre_norm`` and ``L`` (identity where the model has none)."""
        ...

    def unembed(self, hidden: "Float[Tensor, '*n d']") -> "Float[Tensor, '*n v']":
        """Logits of activations that are already normed (layer ``L``)."""
        ...

    @property
    def unembedding(self) -> "Float[Tensor, 'v d']":
        """The weight matrix of the output head."""
        ...


@runtime_checkable
class Swappable(Protocol):
    """A model in which activations can be replaced on the way."""

    def swap(
        self, layer: Layer, positions: "Int[Tensor, 'b'] | Int[Tensor, 'b k']", values: "Tensor"
    ) -> AbstractContextManager[None]:
        """Replace activations in the forward passes inside the ``with`` block, out of place and differentiably.

        Args:
            layer: Where. Captures of the same layer made inside see the replaced values.
            positions: Token positions of each sample, [b] or [b, k].
            values: Replacements, [b, d] or [b, k, d], cast to the activations' type.
        """
        ...


@runtime_checkable
class TwoTower(Protocol):
    """A model that embeds texts and images in one space."""

    def tower(self, name: Literal["text", "vision"]) -> Model:
        """One of the towers as a model of its own (modality language or vision)."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> "Float[Tensor, 'b e']":
        """Joint embeddings of texts, of unit length."""
        ...

    def embed_images(self, images: Sequence[Any]) -> "Float[Tensor, 'b e']":
        """Joint embeddings of images, of unit length."""
        ...

    @property
    def logit_scale(self) -> float:
        """Factor between cosine similarities and logits."""
        ...


@runtime_checkable
class Generates(Protocol):
    """A language model that writes."""

    def generate(
        self, prompts: Sequence[str], max_new_tokens: int, *, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Continue each prompt; greedy at temperature 0, else sampled with a generator made from ``seed``."""
        ...


@runtime_checkable
class Decomposable(Protocol):
    """A model whose weight matrices can be decomposed into components."""

    @property
    def module(self) -> "nn.Module":
        """The network itself."""
        ...

    def decomposable_modules(self, patterns: Sequence[str] = ("*",)) -> "Mapping[str, nn.Module]":
        """Linear, Conv1D and embedding modules whose dotted name matches one of the shell-style ``patterns``."""
        ...
