"""The commit protocol: a file is there as a whole or not at all, and the first writer wins.

1. Write ``.<final>.<host>.<pid>.<rand>.tmp`` in the folder of the final file.
2. Flush and fsync it.
3. Link it to its final name. Linking is atomic and refuses an existing name: somebody else has finished, theirs is kept.
4. Fsync the folder.
5. Unlink the temporary name, also after an error.

Killed at any moment, this leaves either nothing but a temporary file, which :func:`collect_garbage` removes later, or the whole
file. There are no locks. Where hard links do not exist the file is renamed, after a look whether the name is taken.
"""

import errno
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from interp_registry.errors import ResourceError
from interp_registry.stores.liveness import host_name, process_alive

__all__ = [
    "collect_garbage",
    "commit",
    "make_folder",
    "remove_folder",
    "replace",
    "replace_text",
    "resource_error",
    "stale",
    "sync_folder",
    "temporary_name",
    "translated",
    "whole_folder",
]

_LOG = logging.getLogger(__name__)
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF})
_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NUMBERED = re.compile(r"\(os error (\d+)\)")
_TEMPORARY = re.compile(r"\.(?P<final>.+)\.(?P<host>[A-Za-z0-9-]+)\.(?P<pid>\d+)\.[0-9a-f]{8}\.tmp", re.DOTALL)
_STALE_SECONDS = 24 * 3600.0


def temporary_name(final: Path) -> Path:
    """A fresh name beside ``final`` that says who is writing: ``.<final>.<host>.<pid>.<rand>.tmp``."""
    return final.with_name(f".{final.name}.{host_name()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")


def commit(final: Path, write: Callable[[BinaryIO], object]) -> bool:
    """Write a file that must never change; True when this call made it, False when it was there first.

    Args:
        final: The file's name; its folder exists.
        write: Writes the content to the open file, which it may also read and seek.

    Raises:
        ResourceError: The disk is full, a limit is reached, or the folder cannot be written. Nothing is left behind.
    """
    with _written(final, write) as temporary:
        mine = _link(temporary, final)
        sync_folder(final.parent)
    return mine


def replace(final: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write or overwrite a file that may change; readers see the old content or the new, never a mixture.

    Raises:
        ResourceError: As for :func:`commit`; the old content is kept.
    """
    with _written(final, write) as temporary:
        os.replace(temporary, final)  # noqa: PTH105 - the system calls of this module are made one by one through os
        sync_folder(final.parent)


def replace_text(final: Path, text: str) -> None:
    """Write or overwrite a text file in UTF-8, like :func:`replace`."""
    replace(final, lambda file: file.write(text.encode()))


@contextmanager
def whole_folder(final: Path, replaced: bool = True) -> Iterator[Path]:
    """A folder to write into, which is synced and becomes ``final`` at the end of the block, or is removed if the block fails.

    Args:
        final: The folder's name; its parent exists.
        replaced: Whether a folder of that name that is there already gives way, as a whole and with nothing in its place for a
            moment; else it is kept and what was written is thrown away.

    Raises:
        ResourceError: As for :func:`commit`.
    """
    temporary = temporary_name(final)
    with translated(final):
        try:
            os.mkdir(temporary)  # noqa: PTH102 - see replace
            yield temporary
            _sync_all(temporary)
            while not _renamed(temporary, final) and replaced:
                with suppress(FileNotFoundError):  # another writer was quicker
                    _remove(final)
            sync_folder(final.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that nobody ever sees half of it.

    Raises:
        ResourceError: As for :func:`commit`.
    """
    with translated(folder):
        _remove(folder)


def _remove(folder: Path) -> None:
    hidden = temporary_name(folder)
    os.rename(folder, hidden)  # noqa: PTH104
    shutil.rmtree(hidden, ignore_errors=True)


def _renamed(temporary: Path, final: Path) -> bool:
    """Give a finished folder its name; False when there is a folder of that name, with something in it."""
    try:
        os.rename(temporary, final)  # noqa: PTH104
    except OSError as err:
        if err.errno not in _NOT_EMPTY:
            raise
        return False
    return True


def _sync_all(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:  # noqa: PTH118, PTH123
                os.fsync(file.fileno())
        sync_folder(Path(parent))


@contextmanager
def _written(final: Path, write: Callable[[BinaryIO], object]) -> Iterator[Path]:
    """A finished and synced temporary file beside ``final``, unlinked afterwards whatever happens."""
    temporary = temporary_name(final)
    with translated(final):
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
            with open(descriptor, "w+b") as file:  # noqa: PTH123 - an open descriptor, not a path
                write(file)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            _unlink(temporary)


@contextmanager
def translated(final: Path) -> Iterator[None]:
    """Turn errors of the operating system while writing ``final`` into one clear ResourceError."""
    try:
        yield
    except OSError as err:
        remedy = "make space" if err.errno in _FULL else "check that the folder can be written"
        raise _cannot_write(final, err.strerror or str(err), remedy) from err
    except Exception as err:
        full = resource_error(err, final)
        if full is None:
            raise
        raise full from err


def resource_error(err: BaseException, place: Path | None = None) -> ResourceError | None:
    """The clear error if ``err`` says that the disk is full or a limit is reached, however a library words it."""
    if isinstance(err, OSError):
        number, place = err.errno, place or err.filename
    else:
        named = _NUMBERED.search(str(err))  # the words of libraries in Rust
        number = int(named[1]) if named else None
    return _cannot_write(place, os.strerror(number), "make space") if number in _FULL else None


def _cannot_write(place: Path | None, reason: str, remedy: str) -> ResourceError:
    where = "" if place is None else f" {place}"
    return ResourceError(
        f"cannot write{where}: {reason}", f"{remedy}, then run the same command again: what is finished is kept"
    )


def _link(temporary: Path, final: Path) -> bool:
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    except OSError as err:
        if err.errno not in _NO_HARD_LINKS:
            raise
        if final.exists():
            return False
        os.rename(temporary, final)  # noqa: PTH104
    return True


def _unlink(temporary: Path) -> None:
    try:
        os.unlink(temporary)  # noqa: PTH108
    except FileNotFoundError:
        pass
    except OSError as err:
        _LOG.warning("cannot remove %s: %s; `interp store gc` will", temporary, err)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; file systems that cannot sync folders are let be."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    except OSError as err:
        if err.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> Path:
    """Make a folder and its missing parents durably; return it.

    Raises:
        ResourceError: A folder cannot be made, for example because a file has its name.
    """
    with translated(folder):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync_folder(path.parent)
    return folder


def stale(path: Path, now: float | None = None) -> bool:
    """Whether ``path`` is a temporary file or folder whose writer is gone.

    It is when its name has the form of :func:`temporary_name` and its process is dead on this machine, or it was last
    changed more than 24 hours ago.
    """
    match = _TEMPORARY.fullmatch(path.name)
    if match is None:
        return False
    if match["host"] == host_name() and not process_alive(int(match["pid"])):
        return True
    try:
        changed = path.stat().st_mtime
    except FileNotFoundError:
        return False
    return (time.time() if now is None else now) - changed > _STALE_SECONDS


def collect_garbage(root: Path, dry_run: bool = False) -> list[Path]:
    """Remove what dead writers left below ``root``; return the removed paths (with ``dry_run``: what would be removed)."""
    found = sorted(path for path in root.rglob(".*.tmp") if stale(path))
    for path in found if not dry_run else ():
        with suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return found
