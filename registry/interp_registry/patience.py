"""How long the tool waits for a stranger's code before it says so; it never ends a user's work because of a clock."""

import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from interp_registry.errors import UsageError

__all__ = ["patience", "said_when_slow"]

_log = logging.getLogger(__name__)

_SECONDS = 60.0


def patience() -> float:
    """Seconds without news after which is said what is waited for, and a tracker is left out: ``INTERP_PATIENCE``, 60 if not set.

    Raises:
        UsageError: The variable is no positive number.
    """
    text = os.environ.get("INTERP_PATIENCE", "")
    if not text:
        return _SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"INTERP_PATIENCE={text!r} is no number of seconds", "60 is usual")
    return seconds


@contextmanager
def said_when_slow(what: str, advice: str) -> Iterator[None]:
    """Say once, in the log, when the block takes longer than :func:`patience`; it goes on.

    Args:
        what: What is going on, e.g. "plugin 'x' is being loaded".
        advice: What the user can do.
    """
    seconds = patience()
    timer = threading.Timer(seconds, _log.warning, ("%s, for %g s already; %s", what, seconds, advice))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
