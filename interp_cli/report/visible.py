"""Text from outside, made safe for a terminal."""

import re
import unicodedata

__all__ = ["shorten", "visible", "visible_lines"]


def visible(text: str) -> str:
    r"""``text`` with control and direction characters written out (``\x1b``), so that it cannot drive a terminal."""
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)


def visible_lines(text: str) -> str:
    """``visible(text)`` with its line breaks and tabs as they are."""
    return re.sub(r"[^\n\t]+", lambda part: visible(part[0]), text)


def shorten(text: str, length: int) -> str:
    """``visible(text)`` cut to ``length`` characters, the last of them an ellipsis when something is cut."""
    shown = visible(text)
    return shown if len(shown) <= length else shown[: max(length - 1, 0)] + "…"
