"""Names of folders and files, made from requests: readable, collision-free, and unable to leave the store."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from interp_registry.errors import UsageError

__all__ = ["Json", "canonical_json", "digest_of", "key_of", "slug"]

Json: TypeAlias = Mapping[str, Any] | list[Any] | tuple[Any, ...] | str | int | float | bool | None
"""What JSON can hold; mappings have string keys, numbers are finite."""

_HASH_DIGITS = 16
_SLUG_LENGTH = 80


def canonical_json(value: Json) -> bytes:
    """The one spelling of a JSON value: keys sorted, no spaces, ASCII only, finite numbers.

    Equal values give equal bytes on every platform; tuples are written as lists.

    Raises:
        UsageError: The value holds something that JSON cannot, e.g. a path, NaN, or a key that is not a string.
    """
    _check_keys(value)
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise UsageError(f"{value!r} cannot be stored as JSON: {err}") from err
    return text.encode("ascii")


def _check_keys(value: Any) -> None:
    """Refuse keys that json would silently turn into strings: {1: ...} and {"1": ...} must not become one request."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UsageError(f"key {key!r} of {value!r} is not a string")
            _check_keys(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_keys(item)


def digest_of(value: Json) -> str:
    """The sha256 of :func:`canonical_json`, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def slug(name: str, length: int = _SLUG_LENGTH) -> str:
    """The readable part of a key: only ``A-Z a-z 0-9 . _ -``, never empty, never starting with a dot or dash.

    It is for people only: ``a/b`` and ``a-b`` have the same slug, and :func:`key_of` tells them apart.
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name[: 4 * length]).lstrip(".-")[:length].rstrip(".-")
    return readable or "unnamed"


def key_of(name: str, request: Json) -> str:
    """The folder name of a request: ``slug(name)-`` and the first 16 hex digits of the digest of name and request.

    At most 97 characters of ``A-Z a-z 0-9 . _ -``: no name, however hostile, leaves the store, and two different
    requests share a key with a probability of 2^-64 per pair.
    """
    return f"{slug(name)}-{digest_of({'name': name, 'request': request})[:_HASH_DIGITS]}"
