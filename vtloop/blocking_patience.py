"""How long a wait may take before it counts: as long as somebody is about to end it.

Used by `vtloop.blocking_calls` and `vtloop.blocking_buster`.  Joining a thread that has just ended, taking a lock that
another thread holds for a moment, reaping a child that was killed: all of them wait, and none of them is a mistake.  So
a wait is really tried for `GRACE`, and again while other threads move, up to `MOST`; where nobody is there to end it,
it is not tried at all.  This must never change what a wait means: it is the same wait, in pieces.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["GRACE", "ended_soon", "left_of"]

GRACE = 0.05
"""Real seconds for which a wait is tried while nothing moves."""

MOST = 0.25
"""Real seconds for which it is tried at most."""


def ended_soon(wait: Callable[[float], Any], timeout: float | None = None, alone: bool = True) -> Any:
    """What ``wait(seconds)`` gives as soon as it is true; what it gave last when it does not come true in time.

    Args:
        wait: Waits for some seconds.
        timeout: What the program has set; the wait is over after that anyway.
        alone: Whether only threads of this process could end it; else the time may be taken in full.
    """
    before = _places()
    if alone and not before:
        return wait(0)
    left = MOST if timeout is None else min(timeout, MOST)
    while True:
        piece = min(GRACE, left)
        found = wait(piece)
        left -= piece
        if found or left <= 0.0001:
            return found
        now = _places()
        if alone and now == before:
            return found
        before = now


def left_of(timeout: float | None, began: float) -> float | None:
    """What is left of ``timeout`` after a wait that began at ``began`` of ``time.perf_counter``."""
    return None if timeout is None else max(timeout - (time.perf_counter() - began), 0.0)


def _places() -> dict[int, tuple[int, int]]:
    """Where the other threads stand; vtloop's own are not asked."""
    me = threading.get_ident()
    frames = sys._current_frames()
    found = {}
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None and thread.ident != me and not getattr(thread, "vtloop_own", False):
            found[thread.ident or 0] = (hash(frame.f_code), frame.f_lasti)
    return found
