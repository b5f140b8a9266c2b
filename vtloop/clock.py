"""Virtual time: an integer of nanoseconds that moves only when it is told to.

Called by the loop and the timer queue.  This is the only file where seconds become nanoseconds.  It must never
read a real clock.
"""

from __future__ import annotations

from vtloop.errors import UsageError

__all__ = ["VirtualClock", "checked_ns", "seconds_text"]


class VirtualClock:
    """The time of one loop.

    Invariant: ``seconds`` never goes backwards and never reads below the float deadline of a timer that has
    fired, because code that re-arms itself "if it is too early" would otherwise spin for ever.

    Attributes:
        ns: The time, in whole nanoseconds since the loop's epoch.
        seconds: The same as a float; what ``loop.time()`` returns.
    """

    __slots__ = ("ns", "seconds")

    def __init__(self, start: float = 0.0) -> None:
        self.ns = round(start * 1e9)
        self.seconds = float(start)

    def move_to(self, ns: int, at_least: float = 0.0) -> None:
        """Set the time to ``ns``; ``at_least`` is the latest float deadline that this instant fulfils."""
        self.ns = ns
        seconds = ns / 1e9
        if seconds < at_least:
            seconds = at_least
        if seconds > self.seconds:
            self.seconds = seconds


def checked_ns(seconds: float, what: str) -> int:
    """``seconds`` as whole nanoseconds, rounded to the nearest.

    Raises:
        UsageError: Not a number, NaN, infinite or negative; ``what`` names the argument.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise UsageError(f"{what} must be a number of seconds, got {seconds!r}")
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"{what} must be a finite number of seconds, 0 or more, got {seconds!r}")
    return round(seconds * 1e9)


def seconds_text(ns: int) -> str:
    """``ns`` as decimal seconds without float noise: ``1500000000`` gives ``'1.5'``."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    whole, part = divmod(ns, 1_000_000_000)
    return f"{sign}{whole}.{part:09d}".rstrip("0").rstrip(".")
