"""Names of schedulers: ``"pct:depth=3"`` is a kind and a number.

The one place that knows which kinds there are, which number each takes, and what it is when left out.  Used by the
options, which refuse what is not here, and by `vtloop.schedulers.make_scheduler`.  It must never make a scheduler.
"""

from __future__ import annotations

__all__ = ["EXPLORATIONS_ONLY", "MOST", "SCHEDULERS", "parse", "spelt"]

_NUMBERS = {"pct": ("depth", 3), "delay": ("bound", 2), "exhaustive": ("bound", 2)}
"""The kinds that take a number: what it is called, and its default."""

_PLAIN = ("fifo", "random", "reversed", "pos", "urw", "portfolio")

SCHEDULERS = (
    *("fifo", "random", "reversed", "pct:depth=N", "pos", "urw", "delay:bound=N"),
    *("exhaustive:bound=N", "portfolio"),
)
"""All names, as messages and help texts show them."""

EXPLORATIONS_ONLY = ("exhaustive", "portfolio")
"""Kinds that say how the runs of an exploration differ; a single run cannot have them."""

MOST = 1000
"""The largest number that a name may carry."""


def parse(name: str) -> tuple[str, int] | None:
    """The kind and the number of ``name``, the default where it is left out; None when there is no such scheduler.

    The number is from 1 to `MOST`; it is 0 for a kind that takes none.
    """
    kind, colon, rest = name.partition(":")
    if kind in _PLAIN:
        return None if colon else (kind, 0)
    if kind not in _NUMBERS:
        return None
    word, default = _NUMBERS[kind]
    if not colon:
        return kind, default
    given, _, digits = rest.partition("=")
    if given != word or not digits.isdecimal() or len(digits) > len(str(MOST)) or not 0 < int(digits) <= MOST:
        return None
    return kind, int(digits)


def spelt(kind: str, number: int) -> str:
    """The full name: `parse` undone."""
    return f"{kind}:{_NUMBERS[kind][0]}={number}" if kind in _NUMBERS else kind
