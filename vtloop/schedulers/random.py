"""Uniform random choice: every index of the window with the same probability.

The classical random walk.  It needs no parameter and finds most shallow bugs, but an order in which one task stays
behind for long is exponentially rare.  Deterministic for a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vtloop.entropy import draw, stream
from vtloop.schedulers.base import Scheduler
from vtloop.schedulers.odds import Odds

if TYPE_CHECKING:
    from vtloop.ready import ReadyLine

__all__ = ["RandomScheduler"]


class RandomScheduler(Scheduler):
    """Draws each choice from one stream of the seed; O(1) a pick."""

    def __init__(self, seed: int, level: str) -> None:
        super().__init__(level, Odds(seed))
        self._seed = seed
        self._line: ReadyLine | None = None
        self._uniform: Callable[[], float] | None = None

    def attach(self, line: ReadyLine) -> None:
        self._line = line

    def pick(self, items: Sequence[Any], options: int) -> int:
        # Hot: asked only once; from then on the line draws by itself.
        # Seeding a generator costs as much as ten steps: runs without a choice need none.
        if self._uniform is None:
            self._uniform = stream(self._seed, "picks").random
        if self._line is not None:
            self._line.uniform = self._uniform
        return draw(self._uniform, options)
