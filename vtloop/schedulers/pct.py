"""Random priorities: each task keeps a random rank for the whole run, and the foremost in the window runs.

After S. Burckhardt, P. Kothari, M. Musuvathi, S. Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of
Finding Bugs", ASPLOS 2010 (PCT).  With n tasks and k choices it finds a bug of depth d with a probability of at least
1/(n k^(d-1)) a run.  Ours differs in three ways, which cost the guarantee its exact form: priorities are drawn when a
task is first seen; the world (ends of turns, plain callbacks) has no fixed priority, each of its items draws one, and
how high they are is drawn for the run (`vtloop.schedulers.ranked.POWERS`); and k, which the paper takes from an earlier
run, is drawn for each run from `LENGTHS`, so that a run stays a function of its seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtloop.entropy import draw
from vtloop.schedulers.ranked import RankedScheduler, actor_of

__all__ = ["LENGTHS", "PctScheduler"]

LENGTHS = (16, 64, 256, 1024)
"""Guesses of how many choices a run has."""


class PctScheduler(RankedScheduler):
    """One rank a task; at ``depth - 1`` random choices the task that runs falls behind all others."""

    name = "pct"

    def __init__(self, seed: int, level: str, depth: int = 3) -> None:
        super().__init__(seed, level)
        self._changes = depth - 1
        self._drops: frozenset[int] = frozenset()
        self._asked = 0
        self._last = 1.0
        self._ranks: dict[Any, float] = {}

    def begin(self) -> None:
        """Draw the choices at which a task falls behind."""
        if self._changes:
            length = LENGTHS[draw(self.uniform, len(LENGTHS))]
            self._drops = frozenset(draw(self.uniform, length) for _ in range(self._changes))

    def rank(self, item: Any) -> float:
        """The rank of the task, drawn when it is first seen; a new one for each item of the world."""
        actor = actor_of(item[3])
        if actor is None:
            return self.world_rank()
        rank = self._ranks.get(actor)
        if rank is None:
            rank = self._ranks[actor] = self.uniform()
        return rank

    def pick(self, items: Sequence[Any], options: int) -> int:
        index = super().pick(items, options)
        if self._drops:
            if self._asked in self._drops:
                actor = actor_of(items[index][3])
                if actor is not None:
                    self._last += 1.0
                    self._ranks[actor] = self._last
            self._asked += 1
        return index
