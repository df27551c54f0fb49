"""What the liars do instead of coming back."""

import sys
import time


def hang():
    """Never come back."""
    while True:
        time.sleep(60)


def maybe(lie):
    """Raise, ask to exit, or hang, where that is the lie."""
    if lie == "raises":
        raise ZeroDivisionError("a division in the plugin")
    if lie == "exits":
        sys.exit(0)
    if lie == "hangs":
        hang()
