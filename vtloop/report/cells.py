"""How wide a text stands on a terminal, where some characters take two columns and some take none.

Called by what lays text out in columns.  It must never count a text of ASCII character by character.
"""

from __future__ import annotations

from unicodedata import combining, east_asian_width

__all__ = ["clipped", "padded", "width_of"]


def width_of(text: str) -> int:
    """How many columns a line of text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def padded(text: str, width: int) -> str:
    """The text with blanks behind it up to ``width`` columns."""
    return text + " " * (width - width_of(text))


def clipped(text: str, most: int) -> str:
    """The text in at most ``most`` columns; ``...`` stands for what is left out."""
    if width_of(text) <= most:
        return text
    room, kept = max(most - 3, 0), 0
    for at, character in enumerate(text):
        kept += _width(character)
        if kept > room:
            return f"{text[:at]}..."
    return text


def _width(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
