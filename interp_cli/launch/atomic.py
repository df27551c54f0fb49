"""Files that are there whole or not at all."""

import contextlib
import errno
import json
import os
import uuid
from pathlib import Path
from typing import Any

__all__ = ["create_json", "read_json", "replace_json"]

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def replace_json(path: Path, value: Any) -> None:
    """Write JSON to ``path``; readers see the old content or the new, never a part."""
    temporary = _written_beside(path, value)
    temporary.replace(path)


def create_json(path: Path, value: Any) -> bool:
    """Write JSON to ``path`` unless it exists: of several writers exactly one succeeds.

    Returns:
        Whether this call created the file.
    """
    temporary = _written_beside(path, value)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as err:
        if err.errno not in _NO_LINKS:
            raise
        return _create_without_links(path, temporary)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return True


def _create_without_links(path: Path, temporary: Path) -> bool:
    """For file systems without hard links: exclusive, but a reader may catch the file before its content."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as target:
        target.write(temporary.read_bytes())
    return True


def read_json(path: Path) -> dict[str, Any] | None:
    """The mapping in ``path``; None when the file is missing, or not written yet."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None


def _written_beside(path: Path, value: Any) -> Path:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as target:
            json.dump(value, target, indent=1)
            target.write("\n")
            target.flush()
            os.fsync(target.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
