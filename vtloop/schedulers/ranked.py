"""Ranked: everything that stands ready has a rank, and the least rank in the window runs.

The part that `pct`, `pos` and `urw` share: they differ in how a rank is drawn, and nothing else.  A rank is drawn once,
when its item is first seen in a window, and kept until the item has run.  It must never look outside the window.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from operator import itemgetter
from typing import Any

from vtloop.cpython import BUILTIN, STEP
from vtloop.entropy import draw, stream
from vtloop.schedulers.base import Scheduler
from vtloop.schedulers.odds import Odds

__all__ = ["RankedScheduler", "actor_of"]

POWERS = (1, 2, 4, 8)
"""How much the world hurries in a run: the rank of each of its items is a uniform number to this power.

The world is what is not a task: ends of turns and plain callbacks.  A task stands back for long only while all that the
world has to do comes before it, and a bug of that kind needs several ends of turns in a row.  With the power 1 the
world is one actor among others; drawn from these for each run, the planted bugs of ``benchmarks.search`` are found 1.15
(`pct`) to 1.25 times (`pos`) as often.
"""

_NEAR = 12
"""Windows up to this size are searched from the front."""

_born = itemgetter(1)


def actor_of(callback: Any) -> Any:
    """Who a ready item is a step of: something hashable for a task, None for the world."""
    kind = type(callback)
    if kind is STEP or kind is BUILTIN:
        task = callback.__self__
        # Hot: a number hashes in C, a task does not.
        return getattr(task, "_number", task)
    return None


class RankedScheduler(Scheduler):
    """Runs the item of least rank; O(log n) a pick for n items that stand ready, each looked at once.

    Attributes:
        name: The name of the stream from which all is drawn.
        uniform: Draws from [0, 1).
        power: See `POWERS`.
        reached: The rank of the item picked last.
    """

    name: str
    uniform: Callable[[], float]
    power = 1
    reached = 0.0

    def __init__(self, seed: int, level: str) -> None:
        super().__init__(level, Odds(seed))
        self._seed = seed
        self._heap: list[tuple[float, int]] = []  # (rank, born), some of them of items that ran without being picked
        self._newest = -1  # Invariant: every item of the line born up to here has been ranked

    def begin(self) -> None:
        """Draw what is drawn once a run; called before the first rank."""

    def rank(self, item: Any) -> float:
        """The rank of an item that is seen for the first time."""
        raise NotImplementedError

    def world_rank(self) -> float:
        """A rank in [0, 1) for an item of the world."""
        return self.uniform() ** self.power

    # Hot: the greater part of an exploration's picks.
    def pick(self, items: Sequence[Any], options: int) -> int:
        heap, newest = self._heap, self._newest
        at = options - 1
        if items[at][1] > newest:
            if newest < 0:
                # Seeding a generator costs as much as ten steps: runs without a choice need none.
                self.uniform = stream(self._seed, self.name).random
                self.power = POWERS[draw(self.uniform, len(POWERS))]
                self.begin()
            while at and items[at - 1][1] > newest:
                at -= 1
            rank = self.rank
            while at < options:
                item = items[at]
                heappush(heap, (rank(item), item[1]))
                at += 1
            self._newest = item[1]
        while heap:
            self.reached, born = heappop(heap)
            if options <= _NEAR:
                for index in range(options):
                    if items[index][1] == born:
                        return index
            else:
                index = bisect_left(items, born, 0, options, key=_born)
                if index < options and items[index][1] == born:
                    return index
        return 0
