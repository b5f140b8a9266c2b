"""Random priorities: each task keeps a random rank for the whole run, and the highest rank in the window runs.

After S. Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010 (PCT).
With n tasks and k choices it finds a bug of depth d with a probability of at least 1/(n k^(d-1)) a run.  Ours differs
in three ways: priorities are drawn when a task is first seen; the turn's end is an item of its own that draws a new
priority each turn; and k, which the paper takes from an earlier run, is drawn for each run from 16, 64, 256 and 1024,
so that a run stays a function of its seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtloop.cpython import BUILTIN, STEP
from vtloop.entropy import draw, stream
from vtloop.schedulers.base import Scheduler
from vtloop.schedulers.odds import Odds

__all__ = ["PctScheduler"]

_WIDEST = 64
"""How many items a pick looks at, the last of the window (often the turn's end) among them: O(1) with ten thousand."""


class PctScheduler(Scheduler):
    """Highest priority first; at ``depth - 1`` random choices the task that would run drops below all others."""

    def __init__(self, seed: int, level: str, depth: int = 3) -> None:
        super().__init__(level, Odds(seed))
        self._uniform = stream(seed, "pct").random
        self._drops: frozenset[int] = frozenset()
        if depth > 1:
            length = (16, 64, 256, 1024)[draw(self._uniform, 4)]
            self._drops = frozenset(draw(self._uniform, length) for _ in range(depth - 1))
        self._asked = 0
        self._lowest = 0.0
        self._ranks: dict[Any, float] = {}
        self._plain: tuple[int, float] = (-1, 0.0)

    # Hot: the greater part of an exploration's picks.
    def pick(self, items: Sequence[Any], options: int) -> int:
        ranks, uniform = self._ranks, self._uniform
        best, best_rank, best_task = 0, -float("inf"), None
        for index in range(options) if options <= _WIDEST else (*range(_WIDEST - 1), options - 1):
            item = items[index]
            callback = item[3]
            kind = type(callback)
            task: Any = None
            if kind is STEP or kind is BUILTIN:
                task = callback.__self__
                # Hot: a number hashes in C, a task does not.
                task = getattr(task, "_number", task)
                rank = ranks.get(task)
                if rank is None:
                    rank = ranks[task] = uniform()
            elif self._plain[0] == item[1]:
                rank = self._plain[1]
            else:
                # A plain callback or the turn's end, known by its birth; a window holds one at most.
                rank = uniform()
                self._plain = (item[1], rank)
            if rank > best_rank:
                best, best_rank, best_task = index, rank, task
        if self._drops and self._asked in self._drops and best_task is not None:
            self._lowest -= 1.0
            ranks[best_task] = self._lowest
        self._asked += 1
        return best
