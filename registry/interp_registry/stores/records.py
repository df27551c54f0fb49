"""JSON files that carry the sha256 of their own content, so that a flipped bit is an error and not another number."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from interp_registry.errors import CorruptError, UsageError
from interp_registry.stores.artifact import commit, replace
from interp_registry.stores.keys import Json, canonical_json, digest_of

__all__ = ["commit_record", "read_record", "record_bytes", "replace_record", "require_fields"]

_SEAL = "sha256"
_LIMIT = 256 << 20


def record_bytes(content: Mapping[str, Json]) -> bytes:
    """A record's file: indented JSON with sorted keys; ``sha256`` is the digest of the canonical JSON of all other keys."""
    sealed = {**content, _SEAL: digest_of(content)}
    canonical_json(sealed)
    return (json.dumps(sealed, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def commit_record(path: Path, content: Mapping[str, Json]) -> bool:
    """Write a record that must never change; False when it was there first (it may differ: compare)."""
    data = record_bytes(content)

    def write(file: BinaryIO) -> None:
        file.write(data)

    return commit(path, write)


def replace_record(path: Path, content: Mapping[str, Json]) -> None:
    """Write or overwrite a record that may change."""
    data = record_bytes(content)

    def write(file: BinaryIO) -> None:
        file.write(data)

    replace(path, write)


def read_record(path: Path) -> dict[str, Any]:
    """Read a record and check its digest; the digest itself is left out of the result.

    Any change of the file is found: the bytes must be exactly those that :func:`record_bytes` writes.

    Raises:
        CorruptError: The file is not what was written; the message names it.
        FileNotFoundError: There is no such file.
    """
    if path.stat().st_size > _LIMIT:
        raise CorruptError(f"{path} is corrupt: larger than any record")
    data = path.read_bytes()
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise CorruptError(f"{path} is corrupt: no JSON ({err})") from err
    if not isinstance(content, dict) or _SEAL not in content:
        raise CorruptError(f"{path} is corrupt: its key {_SEAL!r} is missing")
    found = cast("dict[str, Any]", content)
    del found[_SEAL]
    try:
        intact = record_bytes(found) == data
    except (UsageError, ValueError, RecursionError) as err:
        raise CorruptError(f"{path} is corrupt: {err}") from err
    if not intact:
        raise CorruptError(f"{path} is corrupt: its content does not match its sha256")
    return found


def require_fields(path: Path, content: dict[str, Any], fields: Mapping[str, type]) -> dict[str, Any]:
    """The content of a record, after checking its fields: a digest that fits can be made by anyone.

    Raises:
        CorruptError: One is missing or of another type; the message names it.
    """
    for name, kind in fields.items():
        if not isinstance(content.get(name), kind):
            raise CorruptError(f"{path} is corrupt: its field {name!r} is missing or no {kind.__name__}")
    return content
