"""One shard: a safetensors file whose header is sealed, whose data is hashed while it is written, and which is memory-mapped.

Layout, in the safetensors format (readable with any safetensors reader):

* 8 bytes: length of the header, little-endian.
* The header: JSON, padded with spaces to a multiple of 8 bytes. Its ``__metadata__`` has the one key ``interp`` (with several
  keys safetensors itself would write them in random order), a JSON object in a string:

  - ``sha256`` or ``xxh3``: digest of the data section;
  - ``parts``: xxh3 digest of each tensor's bytes, so that a single tensor is verified without reading the others;
  - ``seal``: sha256 of the whole header with the seal's digits replaced by zeros;
  - whatever the owner of the shard adds.
* The data section: the tensors one after the other, the widest types first, then by name; no gaps.

Nothing here imports torch before a tensor is touched: stores are listed and verified without it.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from interp_registry.errors import CorruptError, UsageError
from interp_registry.stores.hashing import OverlappedDigests, fast_digest, hash_stream
from interp_registry.stores.keys import Json, canonical_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["DTYPES", "Part", "Shard", "dtype_name", "open_shard", "write_shard"]

DTYPES: dict[str, tuple[str, int]] = {
    "float64": ("F64", 8),
    "int64": ("I64", 8),
    "float32": ("F32", 4),
    "int32": ("I32", 4),
    "float16": ("F16", 2),
    "bfloat16": ("BF16", 2),
    "int16": ("I16", 2),
    "int8": ("I8", 1),
    "uint8": ("U8", 1),
    "bool": ("BOOL", 1),
}
"""Name of a stored type -> its name in safetensors, and its bytes per number."""

_NAMES = {tag: name for name, (tag, _) in DTYPES.items()}
_METADATA = "__metadata__"
_KEY = "interp"
_FETCH = 128 << 10  # kernels cut longer requests short
_EARLY_WRITE = 1 << 20
_HEADER_LIMIT = 100_000_000
_DIGITS = {"sha256": 64, "xxh3": 32}


@dataclass(frozen=True)
class Part:
    """Where one tensor lies in a shard.

    Attributes:
        dtype: Name of its type, a key of :data:`DTYPES`.
        shape: Its shape.
        begin: Offset of its first byte in the data section.
        end: Offset behind its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Shard:
    """An open shard: its header is parsed and checked, its data is not yet read.

    Attributes:
        path: The file.
        size: Its length in bytes.
        data_start: Offset of the data section.
        parts: Its tensors by name.
        info: What the owner stored in the header, with the digests.
    """

    path: Path
    size: int
    data_start: int
    parts: Mapping[str, Part]
    info: Mapping[str, Any] = field(repr=False)

    @property
    def algorithm(self) -> str:
        """Which digest the data section has."""
        return "sha256" if "sha256" in self.info else "xxh3"

    @property
    def digest(self) -> str:
        """The recorded digest of the data section."""
        return str(self.info[self.algorithm])

    def verify(self) -> None:
        """Compare the data section with its digest.

        Raises:
            CorruptError: It is not what was written; the message names the file.
        """
        with self.path.open("rb") as file:
            file.seek(self.data_start)
            found = hash_stream(file, self.algorithm)
        if found != self.digest:
            raise _corrupt(self.path, f"the {self.algorithm} of its data is {found}, recorded is {self.digest}")

    def verify_parts(self) -> None:
        """Compare each tensor's bytes with its digest: as thorough as :meth:`verify`, ten times as fast.

        Raises:
            CorruptError: They are not what was written; the message names the file.
        """
        if self.size == self.data_start:
            return
        with (
            self.path.open("rb") as file,
            mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped)[self.data_start :] as data,
        ):
            for name, part in self.parts.items():
                with data[part.begin : part.end] as content:
                    found = fast_digest(content)
                if found != self.info["parts"][name]:
                    raise _corrupt(self.path, f"the bytes of tensor {name!r} do not match their digest")

    def tensor(self, name: str, verify: bool = True) -> "Tensor":
        """Map one tensor into memory; only its own bytes are read, when they are touched.

        The tensor may be written to: that changes a private copy of the touched pages, never the file.

        Args:
            name: The tensor's name.
            verify: Compare its bytes with their digest, which reads them once.

        Raises:
            CorruptError: The file has no such tensor, or its bytes are not what was written.
        """
        if name not in self.parts:
            raise _corrupt(self.path, f"tensor {name!r} is missing; there are {sorted(self.parts)}")
        part = self.parts[name]
        tensor = _map(self, part)
        if verify and fast_digest(_bytes_of(tensor)) != self.info["parts"][name]:
            raise _corrupt(self.path, f"the bytes of tensor {name!r} do not match their digest")
        return tensor


def dtype_name(dtype: "torch.dtype") -> str:
    """The name of a torch type as stored, e.g. "bfloat16".

    Raises:
        UsageError: The type cannot be stored.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise UsageError(f"tensors of type {name} cannot be stored", f"stored types: {', '.join(DTYPES)}")
    return name


def write_shard(
    file: BinaryIO, tensors: Mapping[str, "Tensor"], info: Mapping[str, Json], algorithm: str = "sha256"
) -> None:
    """Stream tensors into an open file, hashing them in a thread meanwhile; the same tensors give the same bytes.

    Args:
        file: An empty file, open for reading, writing and seeking.
        tensors: Tensors by name, on any device; they must not change meanwhile.
        info: What to keep in the header beside the digests.
        algorithm: Digest of the data section, "sha256" or "xxh3".

    Raises:
        UsageError: A tensor's type cannot be stored.
    """
    parts = _lay_out(tensors)
    digests: dict[str, Any] = {algorithm: "0" * _DIGITS[algorithm], "parts": dict.fromkeys(parts, "0" * 32)}
    file.write(_header(parts, {**info, **digests}))
    with OverlappedDigests(algorithm) as hashing:
        for name in parts:
            data = _bytes_of(tensors[name])
            hashing.add(data)
            file.write(data)
            _start_writing_back(file, len(data))
        whole, fast = hashing.finish()
    digests = {algorithm: whole, "parts": dict(zip(parts, fast, strict=True))}
    file.seek(0)
    file.write(_header(parts, {**info, **digests}))
    file.seek(0, 2)


def _start_writing_back(file: BinaryIO, length: int) -> None:
    """Let the disk work on the last ``length`` bytes while the rest is copied and hashed, without waiting for it.

    The advice that pages are not needed makes the kernel write dirty ones out at once; they are dropped only when they are clean.
    """
    if length >= _EARLY_WRITE and hasattr(os, "posix_fadvise"):
        file.flush()
        os.posix_fadvise(file.fileno(), file.tell() - length, length, os.POSIX_FADV_DONTNEED)


def _lay_out(tensors: Mapping[str, "Tensor"]) -> dict[str, Part]:
    """Place the tensors: widest types first, so that each begins at a multiple of its own width; then by name."""
    names = {name: dtype_name(tensor.dtype) for name, tensor in tensors.items()}
    parts: dict[str, Part] = {}
    position = 0
    for name in sorted(tensors, key=lambda name: (-DTYPES[names[name]][1], name)):
        end = position + tensors[name].numel() * DTYPES[names[name]][1]
        parts[name] = Part(names[name], tuple(tensors[name].shape), position, end)
        position = end
    return parts


def _header(parts: Mapping[str, Part], info: Mapping[str, Json]) -> bytes:
    """The first bytes of the file, up to the data section, with the seal in place."""
    unsealed = _unsealed_header(parts, {**info, "seal": "0" * 64})
    seal = hashlib.sha256(unsealed).hexdigest()
    return _unsealed_header(parts, {**info, "seal": seal})


def _unsealed_header(parts: Mapping[str, Part], info: Mapping[str, Json]) -> bytes:
    content: dict[str, Any] = {_METADATA: {_KEY: canonical_json(info).decode("ascii")}}
    for name, part in parts.items():
        tag = DTYPES[part.dtype][0]
        content[name] = {"dtype": tag, "shape": list(part.shape), "data_offsets": [part.begin, part.end]}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def open_shard(path: Path) -> Shard:
    """Open a shard and check everything but its data: lengths, header, offsets, seal. Fast, whatever the size.

    Raises:
        CorruptError: The file is not what was written, or is none of ours; the message names it.
        FileNotFoundError: There is no such file.
    """
    with path.open("rb") as file:
        _no_read_ahead(file.fileno())
        size = path.stat().st_size
        if size < 8:
            raise _corrupt(path, f"{size} bytes are too few")
        length = int.from_bytes(file.read(8), "little")
        if length > _HEADER_LIMIT or 8 + length > size:
            raise _corrupt(path, f"its header claims {length} bytes of the {size} in the file")
        raw = file.read(length)
    content = _parse(path, raw)
    info = _info(path, content.pop(_METADATA, None))
    parts = {name: _part(path, name, entry) for name, entry in content.items()}
    _check_offsets(path, parts, size - 8 - length)
    seal = str(info.get("seal"))
    if hashlib.sha256(length.to_bytes(8, "little") + raw.replace(seal.encode(), b"0" * 64)).hexdigest() != seal:
        raise _corrupt(path, "its header does not match its seal")
    if set(cast("Mapping[str, str]", info["parts"])) != set(parts):
        raise _corrupt(path, "its digests belong to other tensors")
    return Shard(path, size, 8 + length, parts, info)


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as err:
        raise _corrupt(path, f"its header is no JSON ({err})") from err
    if not isinstance(content, dict):
        raise _corrupt(path, "its header is no JSON object")
    return cast("dict[str, Any]", content)


def _info(path: Path, metadata: Any) -> dict[str, Any]:
    """The one metadata entry, with its digests present."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise _corrupt(path, f"its header has no metadata {_KEY!r}")
    info = _parse(path, cast("dict[str, str]", metadata)[_KEY].encode("utf-8", "surrogatepass"))
    digests = [name for name in _DIGITS if isinstance(info.get(name), str)]
    if len(digests) != 1 or not isinstance(info.get("parts"), dict) or not isinstance(info.get("seal"), str):
        raise _corrupt(path, "its header lacks digests")
    return info


def _part(path: Path, name: str, entry: Any) -> Part:
    """One entry of the header; every field is checked before it is used."""
    try:
        tag, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        dtype = _NAMES[tag]
    except (KeyError, TypeError, ValueError) as err:
        raise _corrupt(path, f"the entry of tensor {name!r} is wrong: {entry!r}") from err
    numbers = [begin, end, *shape] if isinstance(shape, list) else [None]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise _corrupt(path, f"the entry of tensor {name!r} is wrong: {entry!r}")
    expected = DTYPES[dtype][1]
    for extent in cast("list[int]", shape):
        expected *= extent
    if end - begin != expected:
        raise _corrupt(path, f"tensor {name!r} of shape {shape} cannot have {end - begin} bytes")
    return Part(dtype, tuple(shape), begin, end)


def _check_offsets(path: Path, parts: Mapping[str, Part], length: int) -> None:
    """The parts cover the data section without gaps or overlaps."""
    position = 0
    for name, part in sorted(parts.items(), key=lambda item: (item[1].begin, item[1].end)):
        if part.begin != position:
            raise _corrupt(path, f"tensor {name!r} begins at {part.begin}, not at {position}")
        position = part.end
    if position != length:
        raise _corrupt(path, f"its tensors need {position} bytes, there are {length}")


def _corrupt(path: Path, why: str) -> CorruptError:
    return CorruptError(
        f"{path} is corrupt: {why}", "`interp store repair` removes it, then run the same command again"
    )


def _map(shard: Shard, part: Part) -> "Tensor":
    """A tensor over the file's pages; it owns no file descriptor."""
    import torch

    dtype: torch.dtype = getattr(torch, part.dtype)
    if part.begin == part.end:
        return torch.empty(part.shape, dtype=dtype)
    _fetch(shard.path, shard.data_start + part.begin, part.end - part.begin)
    storage = cast("torch.UntypedStorage", torch.UntypedStorage.from_file(str(shard.path), False, shard.size))
    width = DTYPES[part.dtype][1]
    offset = (shard.data_start + part.begin) // width
    flat = torch.empty(0, dtype=dtype).set_(storage, offset, ((part.end - part.begin) // width,), (1,))
    return flat.view(part.shape)


def _no_read_ahead(descriptor: int) -> None:
    """Let reads from an open file bring in what they ask for and nothing else; where it is not known, do nothing."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)


def _fetch(path: Path, start: int, length: int) -> None:
    """Ask the kernel for just these bytes; page faults on a mapping would read far more around them."""
    if not hasattr(os, "posix_fadvise"):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _no_read_ahead(descriptor)
        for offset in range(start, start + length, _FETCH):
            os.posix_fadvise(descriptor, offset, min(_FETCH, start + length - offset), os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)


def _bytes_of(tensor: "Tensor") -> memoryview:
    """A tensor's bytes, without a copy where it lies contiguous on the CPU."""
    import torch

    flat = tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8)
    return memoryview(cast("Any", flat.numpy()))
