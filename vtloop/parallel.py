"""Many processes for one exploration: chunks of runs go out, what came of them comes back in the order of the runs.

Used by `vtloop.explore`, which brings the workers: `vtloop.workers` or `vtloop.executors`.  Which worker is faster must
never change a result: a failing run ends the exploration only when all runs before it are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from vtloop.chunks import Chunk, Made, Program, Result
from vtloop.errors import UsageError

__all__ = ["Crowd", "Resources", "in_order"]

FEWEST_SECONDS = 0.02
"""What a chunk should take at least, even near the end."""

MOST_JOBS = 256
"""How many processes of our own one exploration may have: thousands bring the whole machine down."""

TICK = 0.1
"""Seconds after which `in_order` gives None, if nothing else came: time to draw, to save, to look at the budget."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What an exploration may use.

    Attributes:
        jobs: How many processes make runs.
        executor: Whose workers make them instead; None for processes of our own.
        budget: Real seconds after which no further run begins; None for no limit.
        program: The program for another process.

    Raises:
        UsageError: A value out of range.
    """

    jobs: int = 1
    executor: Any = None
    budget: float | None = None
    program: Program | None = None

    def __post_init__(self) -> None:
        if isinstance(self.jobs, bool) or not isinstance(self.jobs, int) or self.jobs < 1:
            raise UsageError(f"jobs must be a whole number, 1 or more, got {self.jobs!r}")
        if self.jobs > MOST_JOBS and self.executor is None:
            raise UsageError(f"jobs must be at most {MOST_JOBS}, got {self.jobs:,}; one for each processor is enough")
        budget = self.budget
        if budget is not None and (
            isinstance(budget, bool) or not isinstance(budget, (int, float)) or not 0 < budget < float("inf")
        ):
            raise UsageError(f"budget must be a number of seconds above 0, or None, got {budget!r}")

        if self.executor is not None and not callable(getattr(self.executor, "submit", None)):
            raise UsageError(
                f"executor must have submit(function, *args), as those of concurrent.futures, got {self.executor!r}"
            )

    @property
    def alone(self) -> bool:
        """Whether this process makes all runs."""
        return self.jobs == 1 and self.executor is None


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
