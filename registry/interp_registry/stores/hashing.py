"""Digests of files and of streams; a stream's digest is computed in a thread beside the writing."""

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Protocol, TypeAlias

import xxhash

from interp_registry.errors import UsageError

__all__ = ["Algorithm", "Digest", "OverlappedDigests", "fast_digest", "hash_file", "hash_stream", "new_digest"]

Algorithm: TypeAlias = Literal["sha256", "xxh3"]
"""sha256 by default; xxh3 (128 bits) is ten times as fast and meant for big dumps. Neither is a signature."""

_CHUNK = 4 << 20
_MAKERS: dict[str, Callable[[], "Digest"]] = {"sha256": hashlib.sha256, "xxh3": xxhash.xxh3_128}


class Digest(Protocol):
    """A running digest, as in :mod:`hashlib`."""

    def update(self, data: memoryview, /) -> None:
        """Take in more data."""
        ...

    def hexdigest(self) -> str:
        """The digest of all data so far, in hex."""
        ...


def new_digest(algorithm: str) -> Digest:
    """A fresh running digest.

    Raises:
        UsageError: The algorithm is neither "sha256" nor "xxh3".
    """
    if algorithm not in _MAKERS:
        raise UsageError(f"unknown hash {algorithm!r}", "known: sha256, xxh3")
    return _MAKERS[algorithm]()


def fast_digest(data: memoryview) -> str:
    """The xxh3 digest of a buffer, 32 hex digits, at the speed of memory; against accidents, not against enemies."""
    return xxhash.xxh3_128(data).hexdigest()


def hash_stream(file: BinaryIO, algorithm: str = "sha256") -> str:
    """The digest of a file from its current position to its end, in hex."""
    digest, buffer = new_digest(algorithm), memoryview(bytearray(_CHUNK))
    while count := file.readinto(buffer):  # pyright: ignore[reportAttributeAccessIssue]
        digest.update(buffer[:count])
    return digest.hexdigest()


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a whole file, in hex."""
    with path.open("rb") as file:
        return hash_stream(file, algorithm)


class OverlappedDigests:
    """The digest of a stream and fast digests of its parts, computed in two threads while the caller writes the same parts.

    Hashing and writing release the interpreter, so where there are cores the slowest of the three sets the speed. The buffers are
    not copied and must not change before :meth:`finish`.
    """

    def __init__(self, algorithm: str) -> None:
        self._whole = new_digest(algorithm)
        self._stream = ThreadPoolExecutor(1, thread_name_prefix="hash")  # one thread: the stream has an order
        self._fast = ThreadPoolExecutor(1, thread_name_prefix="hash-parts")
        self._waiting: list[Future[None]] = []
        self._parts: list[Future[str]] = []

    def __enter__(self) -> "OverlappedDigests":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in (self._stream, self._fast):
            pool.shutdown(wait=True, cancel_futures=True)

    def add(self, part: memoryview) -> None:
        """Take in the next part of the stream."""
        self._waiting.append(self._stream.submit(self._whole.update, part))
        self._parts.append(self._fast.submit(fast_digest, part))

    def finish(self) -> tuple[str, list[str]]:
        """The digest of the whole stream, and the fast digest of each part in order, all in hex."""
        parts = [part.result() for part in self._parts]
        for update in self._waiting:
            update.result()
        return self._whole.hexdigest(), parts
