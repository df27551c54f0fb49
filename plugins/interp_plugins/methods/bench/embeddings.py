"""Embeddings of data sets, kept by digest of weights and data.

Axis letters: n images or texts, e joint embedding.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from interp_registry.errors import CorruptError
from interp_registry.events import EventSink
from interp_registry.stores.artifact import make_folder, replace
from interp_registry.stores.shards import open_shard, write_shard

__all__ = ["CachedEmbedder", "JointModel"]

_log = logging.getLogger(__name__)
CHUNK = 256


class JointModel(Protocol):
    """What the benchmarks need of a model."""

    @property
    def name(self) -> str:
        """The name it was loaded by."""
        ...

    @property
    def revision(self) -> str:
        """Digest of its weights."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n e"]:
        """Unit embeddings of texts."""
        ...

    def embed_images(self, images: Sequence[Any]) -> Float[Tensor, "n e"]:
        """Unit embeddings of images."""
        ...


class CachedEmbedder:
    """Embeds images and texts in chunks, and keeps the result.

    Args:
        model: The model.
        folder: Where to keep embeddings; None: nowhere.
        events: Told how far it is.
    """

    def __init__(self, model: JointModel, folder: Path | None, events: EventSink) -> None:
        self.model, self.folder, self.events = model, folder, events

    def images(self, images: Iterable[Any], n: int, fingerprint: str) -> Float[Tensor, "n e"]:
        """Embeddings of ``n`` images that are decoded a chunk at a time.

        Args:
            images: The images, read only when they are not known.
            n: Their number.
            fingerprint: Digest of the images and their order.
        """
        return self._kept(f"images|{fingerprint}", n, "images", lambda: self._chunks(images, n))

    def texts(self, texts: Sequence[str]) -> Float[Tensor, "n e"]:
        """Embeddings of texts."""
        digest = hashlib.sha256(repr(list(texts)).encode()).hexdigest()
        return self._kept(f"texts|{digest}", len(texts), "texts", lambda: self.model.embed_texts(texts))

    def _chunks(self, images: Iterable[Any], n: int) -> Float[Tensor, "n e"]:
        parts: list[Tensor] = []
        for chunk in _in_chunks(images):
            parts.append(self.model.embed_images(chunk))
            self.events.progress(f"embed images with {self.model.name}", sum(len(part) for part in parts), n, "images")
        return torch.cat(parts)

    def _kept(self, request: str, n: int, side: str, compute: Callable[[], Tensor]) -> Float[Tensor, "n e"]:
        if self.folder is None:
            return compute()
        dtype = getattr(getattr(self.model, "module", None), "dtype", torch.float32)
        key = hashlib.sha256(f"{self.model.revision}|{dtype}|{request}|{n}".encode()).hexdigest()
        path = make_folder(self.folder) / f"{side}-{key[:40]}.safetensors"
        known = _read(path)
        if known is not None:
            return known
        embeddings = compute().contiguous()
        replace(path, lambda file: write_shard(file, {"embeddings": embeddings}, {"key": key}))
        return embeddings


def _read(path: Path) -> Tensor | None:
    """What is kept in a file; a damaged file is told of and computed again."""
    try:
        return open_shard(path).tensor("embeddings").clone()
    except FileNotFoundError:
        return None
    except CorruptError as err:
        _log.warning("%s; it is computed again", err)
        return None


def _in_chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
