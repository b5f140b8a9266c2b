"""Uniform random choice: every index of the window with the same probability.

The classical random walk.  It needs no parameter and finds most shallow bugs, but an order in which one task stays
behind for long is exponentially rare.  Deterministic for a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtloop.entropy import stream
from vtloop.schedulers.base import Scheduler

__all__ = ["RandomScheduler"]


class RandomScheduler(Scheduler):
    """Draws each choice from one stream of the seed; O(1) a pick."""

    def __init__(self, seed: int, level: str) -> None:
        super().__init__(level)
        self._uniform = stream(seed, "picks").random

    def pick(self, items: Sequence[Any], options: int) -> int:
        return int(self._uniform() * options)

    def choose(self, kind: str, options: int) -> int:
        if kind == "lag" and self._uniform() < 0.5:
            return 0
        return int(self._uniform() * options)
