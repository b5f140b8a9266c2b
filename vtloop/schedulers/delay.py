"""Delay bounding: asyncio's own order, but a few times in a run the step that would run stands back.

After M. Emmi, S. Qadeer, Z. Rakamaric, "Delay-Bounded Scheduling", POPL 2011: a deterministic scheduler that may be
made to pass over what it would run at most N times; most bugs need few such delays, and there are at most k^N schedules
of k choices.  Ours draws the places of the delays, and differs in two ways.  In the paper the step that is passed over
is next in the following round; here it stands back until nothing else is ready (half of the delays), or for a number of
choices between 1 and 256, drawn on a logarithmic scale: asyncio's rounds are so short that one round changes little.
And the number of choices of a run, which is not known, is drawn for each run from `LENGTHS`, so that a run stays a
function of its seed alone.  Findings are easy to tell: they need no shrinking to be nearly asyncio's own order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vtloop.entropy import draw, stream
from vtloop.schedulers.base import Scheduler
from vtloop.schedulers.odds import Odds

__all__ = ["LENGTHS", "DelayScheduler"]

LENGTHS = (4, 8, 16, 32, 64, 128, 256, 1024)
"""Guesses of how many choices a run has."""

LONGEST = 8
"""The power of two up to which a delay lasts that does not last until nothing else is ready."""

FOR_EVER = 1 << 60


class DelayScheduler(Scheduler):
    """Index 0, but at most ``bound`` steps stand back; O(bound) a pick."""

    def __init__(self, seed: int, level: str, bound: int = 2) -> None:
        super().__init__(level, Odds(seed))
        self._seed, self._bound = seed, bound
        self._uniform: Callable[[], float]
        self._places: set[int] = set()
        self._held: dict[int, int] = {}  # born: the choice up to which it stands back
        self._asked = -1

    def pick(self, items: Sequence[Any], options: int) -> int:
        self._asked = asked = self._asked + 1
        if not asked:
            self._begin()
        held, delay = self._held, asked in self._places
        if not (held or delay):
            return 0
        for index in range(options):
            born = items[index][1]
            until = held.get(born)
            if until is None:
                if not delay or index + 1 == options:
                    return index
                delay = False
                held[born] = self._until(asked)
            elif until <= asked:
                del held[born]
                return index
        # Nothing else is ready: the one that stands back longest.
        del held[items[0][1]]
        return 0

    def _begin(self) -> None:
        # Seeding a generator costs as much as ten steps: runs without a choice need none.
        self._uniform = stream(self._seed, "delay").random
        length = LENGTHS[draw(self._uniform, len(LENGTHS))]
        self._places = {draw(self._uniform, length) for _ in range(self._bound)}

    def _until(self, asked: int) -> int:
        if self._uniform() < 0.5:
            return FOR_EVER
        return asked + int(2.0 ** (LONGEST * self._uniform()))
