"""Numbers in sentences: how many of what.

Called by whatever tells a person how often something was.  It must never know what it counts.
"""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, word: str) -> str:
    """``1 run``, ``1,000 runs``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
