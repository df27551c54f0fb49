"""Text from outside, made safe for a terminal."""

import unicodedata

__all__ = ["shorten", "visible"]


def visible(text: str) -> str:
    r"""``text`` with control and direction characters written out (``\x1b``), so that it cannot drive a terminal."""
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)


def shorten(text: str, length: int) -> str:
    """``visible(text)`` cut to ``length`` characters, the last of them an ellipsis when something is cut."""
    shown = visible(text)
    return shown if len(shown) <= length else shown[: max(length - 1, 0)] + "…"
