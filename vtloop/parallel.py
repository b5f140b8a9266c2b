"""Many processes for one exploration: chunks of runs go out, what came of them comes back in the order of the runs.

Used by `vtloop.explore`, which brings the workers: `vtloop.workers` or `vtloop.executors`.  Which worker is faster must
never change a result: a failing run ends the exploration only when all runs before it are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol

from vtloop.chunks import Chunk, Made, Result

__all__ = ["Crowd", "in_order"]

FEWEST_SECONDS = 0.02
"""What a chunk should take at least, even near the end."""

TICK = 0.1
"""Seconds after which `in_order` gives None, if nothing else came: time to draw, to save, to look at the budget."""


class Crowd(Protocol):
    """Workers, from wherever.

    Attributes:
        size: How many chunks may be under way at a time.
        seconds: What a chunk should take: far more than it takes to hand it out.
    """

    size: int
    seconds: float

    def hand(self, chunk: Chunk) -> None:
        """Let a worker make ``chunk``."""

    def next(self, seconds: float) -> Result | None:
        """What came of a chunk, in any order; None after ``seconds``."""

    def drop(self, first: int) -> None:
        """Chunks behind run ``first`` are not wanted any more."""

    def close(self) -> None:
        """End everything at once."""


def in_order(crowd: Crowd, first: int, last: int, pace: float, more: Callable[[], bool]) -> Iterator[Made | None]:
    """What came of the runs from ``first`` up to ``last`` (not included), in the order of their numbers.

    Ends behind the first chunk with a failing run, or when ``more()`` says that no further chunk is to begin and those
    under way are done.  Gives None now and then, so that its user can look at other things.

    Args:
        crowd: The workers.
        first: The number of the first run.
        last: The number behind the last run.
        pace: Real seconds that a run takes, as measured up to now.
        more: Whether a further chunk may begin.

    Raises:
        VtloopError: A worker died; the message names the runs it was making.
    """
    waiting: dict[int, Result] = {}
    under_way, ahead, limit = 0, first, last
    while True:
        while under_way < crowd.size and ahead < limit and more():
            chunk = Chunk(ahead, _size(crowd, pace, last - ahead))
            ahead += chunk.count
            under_way += 1
            crowd.hand(chunk)
        if first >= ahead:
            return
        came = crowd.next(TICK)
        if came is None:
            yield None
            continue
        chunk, made = came
        under_way -= 1
        waiting[chunk.first] = came
        if isinstance(made, Exception) or made.failed:
            limit = min(limit, chunk.first)
            crowd.drop(limit)
        else:
            pace = made.seconds / chunk.count
        while first in waiting:
            chunk, made = waiting.pop(first)
            if isinstance(made, Exception):
                raise made
            first += chunk.count
            yield made
            if made.failed:
                return


def _size(crowd: Crowd, pace: float, left: int) -> int:
    """How many runs the next chunk has; smaller near the end, so that all workers end at about the same time."""
    pace = max(pace, 1e-6)
    share = max(left / (2 * crowd.size), FEWEST_SECONDS / pace)
    return max(1, min(left, math.ceil(min(crowd.seconds / pace, share))))
