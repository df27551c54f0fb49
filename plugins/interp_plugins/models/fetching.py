"""What the hub and the disk say when weights are wanted: revisions, digests, and errors in one clear line."""

import errno
import functools
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - the error that torch raises; nothing is unpickled here

import httpx
from huggingface_hub import constants, get_session, get_token, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StrictDataclassError,
)
from safetensors import SafetensorError

from interp_registry.errors import InterpError, MissingDependencyError, OfflineError, ResourceError, UsageError
from interp_registry.hardware import is_out_of_memory

__all__ = [
    "cached_commit",
    "clear_errors",
    "folder_digest",
    "foreign_code",
    "hub_answers",
    "is_offline",
    "require_hub_or_cache",
]

_WEIGHTS = (".safetensors", ".bin", ".json", ".txt", ".model")
_CHUNK = 1 << 22
_RAISED = (
    OSError, ValueError, RuntimeError, KeyError, MemoryError, ImportError, httpx.TransportError, UnpicklingError, SafetensorError,
    StrictDataclassError,
)  # fmt: skip
"""What reading the files of a model raises, in transformers, timm and what they are built on."""

_CONNECT_SECONDS = 4.0
_NO_ACCESS, _NO_SUCH_FILE = (401, 403), 404


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids the network."""
    return bool(constants.HF_HUB_OFFLINE)


@functools.cache
def hub_answers() -> bool:
    """Whether the hub answers at all, whatever it says; asked once, because its own library retries for half a minute.

    From then on every request of that library has an end: without this, some wait for an answer without limit.
    """
    if is_offline():
        return False
    session = get_session()
    session.event_hooks["request"].append(_end_the_waiting)
    try:
        session.head(constants.ENDPOINT, timeout=None, follow_redirects=False)
    except httpx.TransportError:
        return False
    return True


def _end_the_waiting(request: httpx.Request) -> None:
    """Give a request that would wait for ever the time that ``HF_HUB_DOWNLOAD_TIMEOUT`` gives each part of a download."""
    limits = httpx.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT, connect=_CONNECT_SECONDS).as_dict()
    given = request.extensions.get("timeout", {})
    request.extensions["timeout"] = limits | {name: value for name, value in given.items() if value is not None}


def require_hub_or_cache(name: str, revision: str | None = None) -> None:
    """Refuse at once what is neither in the local cache nor to be had from the hub.

    Raises:
        OfflineError: The hub cannot be reached, and the model is not in the cache.
    """
    if not hub_answers() and cached_commit(name, "config.json", revision) is None:
        raise _unreachable(name)


def folder_digest(folder: Path) -> str:
    """SHA-256 (16 hex digits) over the names and contents of a model folder's weights, configuration and tokenizer.

    Raises:
        UsageError: Its index of weights names files outside the folder, which the digest would not cover.
    """
    for index in sorted(folder.glob("*.index.json")):
        _require_own_files(index)
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in _WEIGHTS or not path.is_file():
            continue
        digest.update(f"{path.name}:{path.stat().st_size}:".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:16]


def _require_own_files(index: Path) -> None:
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise UsageError(f"{index} is no index of weights: {err!r}") from err
    for name in named:
        if not isinstance(name, str) or name in {"", ".", ".."} or Path(name).name != name:
            raise UsageError(f"{index} names the weights {name!r}", "they must lie beside it")


def foreign_code(name: str, why: str) -> UsageError:
    """That something would run code of a repository, which nobody said that it may."""
    return UsageError(
        f"{name} brings code of its own, which is not run: {why}",
        "if you have read it and trust it, add --trust-remote-code; it can do anything that you can",
    )


def cached_commit(repo: str, filename: str, revision: str | None) -> str | None:
    """The commit of a repository that is in the local cache, or None."""
    path = try_to_load_from_cache(repo, filename, revision=revision)
    return Path(path).parent.name if isinstance(path, str) else None


@contextmanager
def clear_errors(name: str) -> Iterator[None]:
    """Turn what loading ``name`` can raise into one line that says what to do. No token ever stands in a message.

    Raises:
        OfflineError: It is not in the cache, and the network is off or does not answer.
        MissingDependencyError: It is gated or private, does not exist, is no model, or needs a package that is not here.
        ResourceError: Disk or memory is full.
        UsageError: Its folder lacks a file, or has a wrong one.
    """
    try:
        yield
    except InterpError:
        raise
    except _RAISED as err:
        raise _explained(name, err) from err


def _chain(err: BaseException | None) -> Iterator[BaseException]:
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__


def _explained(name: str, err: BaseException) -> InterpError:
    causes = list(_chain(err))
    return (
        _resource_problem(name, causes) or _refusal(name, causes) or _silence(name, causes) or _local_problem(name, err)
    )


def _resource_problem(name: str, causes: list[BaseException]) -> InterpError | None:
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in causes):
        return ResourceError(f"the disk is full: {name} cannot be stored", "free some space, or set HF_HOME elsewhere")
    if any(is_out_of_memory(cause) for cause in causes):
        return ResourceError(f"{name} does not fit in memory", "try --quantize 4bit or --device-map auto")
    return None


def _refusal(name: str, causes: list[BaseException]) -> InterpError | None:
    """What the hub answered instead of giving a file; None where it answered nothing."""
    answers = {type(cause): cause.response for cause in causes if isinstance(cause, HfHubHTTPError)}
    if any(issubclass(kind, GatedRepoError) for kind in answers):
        return MissingDependencyError(
            f"{name} is gated", "accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN"
        )
    if any(issubclass(kind, RevisionNotFoundError) for kind in answers):
        return UsageError(f"{name} has no such revision")
    status = next((answer.status_code for answer in answers.values()), None)
    if any(issubclass(kind, RepositoryNotFoundError) for kind in answers) or status in _NO_ACCESS:
        return _no_access(name)
    if status is None or status == _NO_SUCH_FILE:
        return None
    return MissingDependencyError(f"the hub answered with status {status} when asked for {name}", "try again later")


def _silence(name: str, causes: list[BaseException]) -> OfflineError | None:
    """That the hub was not asked, did not answer or stopped in the middle; None where it did what it should."""
    if any(isinstance(cause, httpx.TransportError) for cause in causes):
        return OfflineError(
            f"the hub stopped answering while {name} was fetched",
            "the same command goes on where it stopped; HF_HUB_DOWNLOAD_TIMEOUT=SECONDS waits longer for each answer",
        )
    if any(isinstance(cause, HfHubHTTPError) for cause in causes):
        return None
    silent = (OfflineModeIsEnabled, LocalEntryNotFoundError, ConnectionError)
    unasked = is_offline() or any(isinstance(cause, silent) for cause in causes)
    return _unreachable(name) if unasked and not Path(name).exists() else None


def _no_access(name: str) -> MissingDependencyError:
    if get_token():
        return MissingDependencyError(
            f"the hub has no repository {name!r}, or the access token may not read it",
            "check the spelling and HF_TOKEN",
        )
    return MissingDependencyError(
        f"the hub has no repository {name!r}, or it is private and there is no access token",
        "check the spelling, or log in with `hf auth login` or set HF_TOKEN",
    )


def _local_problem(name: str, err: BaseException) -> InterpError:
    first_line = next(iter(str(err).strip().splitlines()), type(err).__name__)
    if "custom code" in str(err) or "trust_remote_code" in str(err):
        return foreign_code(name, "see the files *.py there")
    if isinstance(err, UnpicklingError) or "weights_only" in str(err):
        return UsageError(
            f"{name} cannot be loaded without executing what is in its weights",
            "only tensors are read; have it saved as safetensors",
        )
    if isinstance(err, ImportError):
        return MissingDependencyError(f"{name} cannot be loaded: {first_line}", "install what is missing")
    if not Path(name).exists():
        return MissingDependencyError(f"{name} cannot be loaded from the hub: {first_line}", "see what it holds there")
    return UsageError(f"{name} cannot be loaded: {first_line}")


def _unreachable(name: str) -> OfflineError:
    return OfflineError(
        f"{name} is not in the local cache, and the hub cannot be reached",
        f"fetch it where there is a network: hf download {name}",
    )
