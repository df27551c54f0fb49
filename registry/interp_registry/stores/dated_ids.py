"""Ids that begin with their time, of runs and of launches, chosen by any unmistakable part of them."""

from collections.abc import Iterable

from interp_registry.errors import UnknownNameError, UsageError

__all__ = ["choose_id"]

_SHOWN = 8


def choose_id(kind: str, name: str, ids: Iterable[str], where: str | None = None) -> str:
    """The one id that is ``name``, or that begins or ends with it.

    Args:
        kind: What has the ids, e.g. "run".
        name: What the user wrote.
        ids: All ids.
        where: Where they lie, for the message.

    Raises:
        UnknownNameError: No id; similar ones are suggested, else the latest.
        UsageError: Several ids.
    """
    newest_first = sorted(ids, reverse=True)
    parts = [one for one in newest_first if name and (one.startswith(name) or one.endswith(name))]
    matches = [name] if name in parts else parts
    if not matches:
        raise UnknownNameError(kind, name, newest_first, where, newest_first=True)
    if len(matches) > 1:
        shown = ", ".join(matches[:_SHOWN]) + (", ..." if len(matches) > _SHOWN else "")
        raise UsageError(f"{kind} {name!r} could be {shown}", "write more of it")
    return matches[0]
