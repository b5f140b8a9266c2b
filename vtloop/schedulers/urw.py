"""Uniform random walk: a task runs with a probability proportional to the number of steps that it has left.

After H. Zhao, D. Wolff, U. Mathur, A. Roychoudhury, "Selectively Uniform Concurrency Testing", ASPLOS 2025 (SURW, of
which this is the walk without the selection).  A random walk that picks tasks evenly lets short tasks end early; with
weights that are the true numbers of remaining events, every interleaving is equally likely.  The paper counts the
events in a run made before.  Ours learns nothing from run to run, so that a run stays a function of its seed alone:
each task's number of steps is *guessed* when the task is first seen, from 1 to 256 on a logarithmic scale, and counted
down.  A wrong guess is not in vain: it is a run in which one task is much slower than another.  How far the guesses may
lie apart is drawn for the run (`BITS`); with 0 all are the same, which is the plain random walk over tasks.  The world
(ends of turns, plain callbacks) weighs as much as the longest guess: a task that takes its steps one by one needs a
turn for each.  Guesses by coroutine function, so that equal workers are equally fast, find half as many of our planted
bugs: what goes wrong between equal workers needs unequal speeds.
"""

from __future__ import annotations

from math import log
from typing import Any

from vtloop.entropy import draw
from vtloop.schedulers.ranked import RankedScheduler, actor_of

__all__ = ["UrwScheduler"]

BITS = (0, 4, 8, 8)
"""Powers of two up to which a run's guesses of lengths go."""

WORLD = 256.0
"""The weight of the world."""


class UrwScheduler(RankedScheduler):
    """Weights instead of ranks: each item runs next with a probability proportional to its weight.

    A race of exponential clocks makes weights into ranks: an item of weight w rings after a time that is distributed
    exponentially with rate w, and the first to ring runs.  What has not rung yet needs no new clock, because such
    clocks have no memory.
    """

    name = "urw"

    def __init__(self, seed: int, level: str) -> None:
        super().__init__(seed, level)
        self._bits = 0
        self._left: dict[Any, float] = {}

    def begin(self) -> None:
        """Draw how far apart the guesses may lie."""
        self._bits = BITS[draw(self.uniform, len(BITS))]

    def rank(self, item: Any) -> float:
        """When the item's clock rings."""
        actor = actor_of(item[3])
        if actor is None:
            weight = WORLD
        else:
            left = self._left.get(actor)
            weight = left if left is not None else 2.0 ** (self._bits * self.uniform())
            self._left[actor] = max(weight - 1.0, 1.0)
        return self.reached - log(1.0 - self.uniform()) / weight
