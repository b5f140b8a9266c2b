"""Reversed: each turn backwards.

Of the tasks in the window the one that came last runs, and the world (the end of the turn, or a plain callback) when no
task is left before it.  So every turn runs what it would run in asyncio's own order, the other way round; timers and
turns keep their places, nobody starves, and nothing is random: a run that no seed spoils, which finds what depends on
who of several is first.  The second run of an exploration's mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtloop.schedulers.base import Scheduler
from vtloop.schedulers.odds import Odds

__all__ = ["ReversedScheduler"]


class ReversedScheduler(Scheduler):
    """The last task of the window; O(1) a pick."""

    def __init__(self, seed: int, level: str) -> None:
        super().__init__(level, Odds(seed))

    def pick(self, items: Sequence[Any], options: int) -> int:
        # Only the last item of a window can be a barrier, and all before it are tasks.
        return options - 1 if not items[options - 1][0] else options - 2
