"""Exhaustive: one place in the tree of all choices, as an enumeration names it.

Follows the deviations that it is given, and takes the first option everywhere else.  Which places there are, and in
which order they are visited, is `vtloop.schedulers.enumeration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtloop.schedulers.base import Scheduler
from vtloop.schedulers.enumeration import Deviations, parted

__all__ = ["ExhaustiveScheduler"]


class ExhaustiveScheduler(Scheduler):
    """Index 0, but for the choices given; O(1) a pick.

    Args:
        level: The level whose rules make the window.
        deviations: What to choose, by position among the choices of the run.

    Raises:
        NondeterminismError: A choice has another number of options than it had when it was enumerated.
    """

    def __init__(self, level: str, deviations: Deviations) -> None:
        super().__init__(level)
        self._coming = iter(deviations)
        self._asked = -1
        self._next = next(self._coming, None)

    def pick(self, items: Sequence[Any], options: int) -> int:
        self._asked += 1
        if self._next is None or self._next[0] != self._asked:
            return 0
        position, index, had = self._next
        if options != had:
            raise parted(position, had, options)
        self._next = next(self._coming, None)
        return index

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        return self.pick((), options)
