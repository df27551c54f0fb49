"""Fetching published feature files: resumable, length and digest checked, whole or not at all."""

import urllib.error
import urllib.request
from pathlib import Path

from interp_registry.errors import CorruptError, OfflineError
from interp_registry.stores.artifact import make_folder
from interp_registry.stores.hashing import hash_file

__all__ = ["fetch"]

_CHUNK = 1 << 20
_TIMEOUT = 60


def fetch(url: str, path: Path, sha256: str | None = None, offline: bool = False) -> Path:
    """The file at ``path``, downloaded from ``url`` if it is not there.

    A download goes to ``path.part`` and goes on there after an interruption; it becomes ``path`` only when all of it has come and the
    digest is right. The digest is recorded in ``path.sha256`` and held against the file whenever it is asked for again.

    Args:
        url: An http(s) address.
        path: Where the file belongs.
        sha256: The digest that the file must have, if known.
        offline: Refuse to ask the network.

    Raises:
        OfflineError: The file is not there and cannot be had.
        CorruptError: The file is not what was downloaded or what ``sha256`` says.
    """
    record = path.with_name(path.name + ".sha256")
    if path.exists():
        _check(path, sha256 or (record.read_text().strip() if record.exists() else None))
        return path
    if offline:
        raise OfflineError(
            f"{path.name} is not here and the network is off", f"put it at {path}, or leave out --offline"
        )
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    _download(url, part)
    try:
        _check(part, sha256)
    except CorruptError:
        part.unlink()
        raise
    record.write_text(hash_file(part) + "\n")
    part.replace(path)
    return path


def _check(path: Path, expected: str | None) -> None:
    if expected is not None and (found := hash_file(path)) != expected.lower():
        raise CorruptError(f"{path} has the digest {found}, expected {expected}", "delete it and fetch it again")


def _download(url: str, part: Path) -> None:
    if not url.startswith(("https://", "http://")):
        raise OfflineError(f"{url!r} is no http address")
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            resumed = answer.status == 206  # partial content
            total = int(answer.headers.get("Content-Length", -1)) + (start if resumed else 0)
            with part.open("ab" if resumed else "wb") as file:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
    except urllib.error.HTTPError as err:
        if err.code == 416 and start:  # nothing is left to fetch
            return
        raise OfflineError(
            f"{url} answers {err.code} {err.reason}", "the file may have moved; put it there by hand"
        ) from err
    except OSError as err:
        raise OfflineError(
            f"{url} cannot be reached: {err}", "run it again: the download goes on where it stopped"
        ) from err
    if total >= 0 and part.stat().st_size != total:
        raise OfflineError(
            f"{url} broke off after {part.stat().st_size} of {total} bytes", "run it again: it goes on there"
        )
