"""Random priorities: each task keeps a random rank for the whole run, and the highest rank in the window runs.

After S. Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010 (PCT).
With n tasks and k choices it finds a bug of depth d with a probability of at least 1/(n k^(d-1)) a run.  Ours differs
in three ways: priorities are drawn when a task is first seen; the turn's end is an item of its own that draws a new
priority each turn; and k, which the paper takes from an earlier run, is drawn for each run from 16, 64, 256 and 1024,
so that a run stays a function of its seed alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from vtloop.entropy import draw, stream
from vtloop.schedulers.base import Scheduler

__all__ = ["PctScheduler"]

_WIDEST = 64
"""How many items a pick looks at, the last of the window (often the turn's end) among them: O(1) with ten thousand."""


class PctScheduler(Scheduler):
    """Highest priority first; at ``depth - 1`` random choices the task that would run drops below all others."""

    def __init__(self, seed: int, level: str, depth: int = 3) -> None:
        super().__init__(level)
        source = stream(seed, "pct")
        self._uniform = source.random
        length = (16, 64, 256, 1024)[draw(self._uniform, 4)]
        self._drops = {draw(self._uniform, length) for _ in range(depth - 1)}
        self._asked = 0
        self._lowest = 0.0
        self._ranks: dict[Any, float] = {}

    def pick(self, items: Sequence[Any], options: int) -> int:
        ranks, uniform = self._ranks, self._uniform
        best, best_rank, best_actor = 0, -float("inf"), None
        looked = range(options) if options <= _WIDEST else (*range(_WIDEST - 1), options - 1)
        for index in looked:
            item = items[index]
            actor = getattr(item[3], "__self__", None)
            if not isinstance(actor, asyncio.Future):
                actor = item[1]  # a plain callback or the turn's end: a new actor each time, known by its birth
            known = ranks.get(actor)
            rank = ranks[actor] = uniform() if known is None else known
            if rank > best_rank:
                best, best_rank, best_actor = index, rank, actor
        if self._asked in self._drops and best_actor is not None:
            self._lowest -= 1.0
            ranks[best_actor] = self._lowest
        self._asked += 1
        return best

    def choose(self, kind: str, options: int) -> int:
        if kind == "lag" and self._uniform() < 0.5:
            return 0
        return draw(self._uniform, options)
