"""What the hub and the disk say when weights are wanted: revisions, digests, and errors in one clear line."""

import errno
import functools
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from interp_registry.errors import InterpError, MissingDependencyError, OfflineError, ResourceError, UsageError

__all__ = ["cached_commit", "clear_errors", "folder_digest", "hub_answers", "is_offline", "require_hub_or_cache"]

_WEIGHTS = (".safetensors", ".bin", ".json", ".txt", ".model")
_CHUNK = 1 << 22
_CONNECT_SECONDS = 4.0


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids the network."""
    return bool(constants.HF_HUB_OFFLINE)


@functools.cache
def hub_answers() -> bool:
    """Whether the hub's host can be reached at all; asked once, because the hub's own library retries for half a minute.

    Behind a proxy the answer is taken to be yes.
    """
    if is_offline():
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    endpoint = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((endpoint.hostname or "", endpoint.port or 443), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False


def require_hub_or_cache(name: str, revision: str | None = None) -> None:
    """Refuse at once what is neither in the local cache nor to be had from the hub.

    Raises:
        OfflineError: The hub cannot be reached, and the model is not in the cache.
    """
    if not hub_answers() and cached_commit(name, "config.json", revision) is None:
        raise _unreachable(name)


def folder_digest(folder: Path) -> str:
    """SHA-256 (16 hex digits) over the names and contents of a model folder's weights, configuration and tokenizer."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in _WEIGHTS or not path.is_file():
            continue
        digest.update(f"{path.name}:{path.stat().st_size}:".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:16]


def cached_commit(repo: str, filename: str, revision: str | None) -> str | None:
    """The commit of a repository that is in the local cache, or None."""
    path = try_to_load_from_cache(repo, filename, revision=revision)
    return Path(path).parent.name if isinstance(path, str) else None


@contextmanager
def clear_errors(name: str) -> Iterator[None]:
    """Turn what loading ``name`` can raise into one line that says what to do. No token ever stands in a message.

    Raises:
        OfflineError: It is not in the cache, and the network is off or does not answer.
        MissingDependencyError: It is gated, or does not exist.
        ResourceError: Disk or memory is full.
        UsageError: Its folder or repository lacks a file, or has a wrong one.
    """
    try:
        yield
    except InterpError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as err:
        raise _explained(name, err) from err


def _chain(err: BaseException | None) -> Iterator[BaseException]:
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__


def _explained(name: str, err: BaseException) -> InterpError:
    causes = list(_chain(err))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if caused_by(GatedRepoError):
        return MissingDependencyError(
            f"{name} is gated", "accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN"
        )
    if caused_by(RevisionNotFoundError):
        return UsageError(f"{name} has no such revision")
    if caused_by(RepositoryNotFoundError):
        return MissingDependencyError(f"the hub has no repository {name!r}, or it is private", "check the spelling")
    off = is_offline() or caused_by(OfflineModeIsEnabled, LocalEntryNotFoundError, HfHubHTTPError, ConnectionError)
    if off and not Path(name).exists():
        return _unreachable(name)
    return _local_problem(name, err, causes)


def _unreachable(name: str) -> OfflineError:
    return OfflineError(
        f"{name} is not in the local cache, and the hub cannot be reached",
        f"fetch it where there is a network: hf download {name}",
    )


def _local_problem(name: str, err: BaseException, causes: list[BaseException]) -> InterpError:
    first_line = next(iter(str(err).strip().splitlines()), type(err).__name__)
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOSPC for cause in causes):
        return ResourceError(f"the disk is full: {name} cannot be stored", "free some space, or set HF_HOME elsewhere")
    if any("out of memory" in str(cause).lower() for cause in causes):
        return ResourceError(f"{name} does not fit in memory", "try --quantize 4bit or --device-map auto")
    return UsageError(f"{name} cannot be loaded: {first_line}")
